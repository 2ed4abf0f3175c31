"""What no type checker sees of a dependency-injector container: names and types of its keywords."""

import inspect
from collections.abc import Callable, Iterator
from types import FunctionType, NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NewType,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from dependency_injector import providers
from typing_extensions import get_protocol_members, is_protocol

CALLING = (providers.Factory, providers.BaseSingleton, providers.Callable)


class UnknownProductError(Exception):
    """A provider of a kind whose product cannot be told; the house does without such kinds."""


def faults(container: Any) -> list[str]:
    """Compare every provider's keywords with the signature it calls, names and types."""
    found = {
        fault
        for provider in container.traverse()
        if isinstance(provider, CALLING)
        for fault in faults_of_call(provider)
    }
    return sorted(found)


def faults_of_call(provider: Any) -> Iterator[str]:
    target = provider.provides
    name = getattr(target, "__qualname__", repr(target))
    parameters = inspect.signature(target).parameters
    if provider.args:
        yield f"{name}: is given positional arguments"
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for given in provider.kwargs:
        if given not in parameters and not takes_any:
            yield f"{name}: has no parameter {given}"
    for parameter in parameters.values():
        variadic = parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        if parameter.name not in provider.kwargs:
            if parameter.default is parameter.empty and not variadic:
                yield f"{name}: is not given {parameter.name}"
        elif fault := type_fault(target, parameter.name, provider.kwargs[parameter.name]):
            yield f"{name}: {fault}"


def type_fault(target: Any, parameter: str, given: Any) -> str | None:
    hint = hints_of(target).get(parameter, Any)
    try:
        wrong = [made for made in products(given) if not fits(made, hint)]
    except UnknownProductError as error:
        return f"{parameter}: {error}"
    return f"{parameter} wants {hint}, is given {wrong[0]}" if wrong else None


def hints_of(target: Any) -> dict[str, Any]:
    return get_type_hints(target.__init__ if isinstance(target, type) else target)


def products(given: Any) -> list[Any]:
    """Name every type that this argument can turn out to be."""
    if not isinstance(given, providers.Provider):
        return [type(given)]
    for kind, tell in PRODUCTS:
        if isinstance(given, kind):
            return [made for product in tell(given) for made in members(product)]
    raise UnknownProductError(f"cannot tell the product of a {type(given).__name__}")


def members(hint: Any) -> list[Any]:
    return list(get_args(hint)) if get_origin(hint) in (Union, UnionType) else [hint]


def returned(target: Any) -> Any:
    if isinstance(target, type):
        return target
    hint = get_type_hints(target).get("return", Any)
    if hint is Any:
        raise UnknownProductError(f"{target} does not say what it returns")
    return hint


def of_dependency(given: Any) -> list[Any]:
    if given.overridden:
        return products(given.overridden[-1])
    return [given.instance_of]


def of_selector(given: Any) -> list[Any]:
    return [product for option in given.providers.values() for product in products(option)]


def of_attribute(given: Any) -> list[Any]:
    return [attribute(owner, given.name) for owner in products(given.provides)]


def of_method(given: Any) -> list[Any]:
    getter = given.provides
    return [returned(getattr(owner, getter.name)) for owner in products(getter.provides)]


def attribute(owner: Any, name: str) -> Any:
    """Find the declared type of `owner.name`: a field, a property or a method."""
    declared = get_type_hints(owner).get(name)
    if declared is not None:
        return declared
    member = inspect.getattr_static(owner, name, None)
    if isinstance(member, property):
        return returned(member.fget)
    if isinstance(member, FunctionType):
        return FunctionType
    raise UnknownProductError(f"{owner.__name__} has no attribute {name}")


PRODUCTS: list[tuple[Any, Callable[[Any], list[Any]]]] = [
    (CALLING, lambda given: [returned(given.provides)]),
    (providers.Object, lambda given: [type(given.provides)]),
    (providers.Dependency, of_dependency),
    (providers.Selector, of_selector),
    (providers.MethodCaller, of_method),
    (providers.AttributeGetter, of_attribute),
    (providers.ProvidedInstance, lambda given: products(given.provides)),
    (providers.List, lambda _: [list]),
    (providers.Dict, lambda _: [dict]),
    (providers.Delegate, lambda _: [FunctionType]),
]


def fits(made: Any, hint: Any) -> bool:
    """Say whether a value of type `made` may be passed where `hint` stands; generics by origin."""
    if hint is Any or made == hint:
        return True
    if isinstance(hint, NewType):
        return fits(made, hint.__supertype__)
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return any(fits(made, option) for option in get_args(hint))
    if origin is Annotated:
        return fits(made, get_args(hint)[0])
    wanted = NoneType if hint is None else (origin or hint)
    if origin is Literal:
        return any(made is type(value) for value in get_args(hint))
    if get_origin(made) is Literal:
        return all(fits(type(value), hint) for value in get_args(made))
    plain = get_origin(made) or made
    if is_protocol(wanted):
        return all(hasattr(plain, name) for name in get_protocol_members(wanted))
    return issubclass(plain, wanted) or (wanted is float and plain is int)
