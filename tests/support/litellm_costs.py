"""What LiteLLM itself says that calls cost: JSON cases in, dollars out. A process of its own.

Kept out of the tests' process: its import takes seconds, and warns.
"""

import json
import os
import sys
from typing import Any

os.environ |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION"}

import litellm
from litellm.types.utils import (
    CacheCreationTokenDetails,
    CompletionTokensDetailsWrapper,
    PromptTokensDetailsWrapper,
    Usage,
)


def usage_of(tokens: dict[str, int]) -> Usage:
    written = tokens["cache_write_5m"] + tokens["cache_write_1h"]
    split = CacheCreationTokenDetails(
        ephemeral_5m_input_tokens=tokens["cache_write_5m"],
        ephemeral_1h_input_tokens=tokens["cache_write_1h"],
    )
    return Usage(
        prompt_tokens=tokens["prompt"],
        completion_tokens=tokens["completion"],
        total_tokens=tokens["prompt"] + tokens["completion"],
        prompt_tokens_details=PromptTokensDetailsWrapper(
            cached_tokens=tokens["cached_read"],
            cache_creation_tokens=written,
            cache_creation_token_details=split if written else None,
            audio_tokens=tokens["audio_in"],
        ),
        completion_tokens_details=CompletionTokensDetailsWrapper(
            reasoning_tokens=tokens["reasoning"], audio_tokens=tokens["audio_out"]
        ),
    )


def cost(model: str, tokens: dict[str, int]) -> float | None:
    try:
        parts: Any = litellm.cost_per_token(model=model, usage_object=usage_of(tokens))
    except Exception:  # noqa: BLE001  LiteLLM raises a bare Exception for a model it does not know
        return None
    return sum(parts)


if __name__ == "__main__":
    litellm.suppress_debug_info = True
    print(json.dumps([cost(model, tokens) for model, tokens in json.load(sys.stdin)]))
