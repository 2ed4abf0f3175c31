"""The hub as its faces see it: one typed field per service, and nothing else."""

from dataclasses import dataclass

from agenthub.domain.services.calls import CallService
from agenthub.domain.services.catalog.definitions import DefinitionService
from agenthub.domain.services.catalog.views import CatalogService
from agenthub.domain.services.cost.budget_book import BudgetBook
from agenthub.domain.services.cost.reports import CostService
from agenthub.domain.services.endpoints import EndpointService
from agenthub.domain.services.events import EventService
from agenthub.domain.services.groups import GroupService
from agenthub.domain.services.held import HeldCalls
from agenthub.domain.services.hitl.approvals import ApprovalDesk
from agenthub.domain.services.hitl.elicitation import ElicitationDesk
from agenthub.domain.services.hitl.queue import HitlQueue
from agenthub.domain.services.hitl.sampling import SamplingDesk
from agenthub.domain.services.identity import IdentityService
from agenthub.domain.services.instances.service import InstanceService
from agenthub.domain.services.models import ModelService
from agenthub.domain.services.notices.desk import NoticeService
from agenthub.domain.services.policies import PolicyService
from agenthub.domain.services.resilience.desk import GatewayDesk


@dataclass(frozen=True, slots=True)
class Hub:
    approvals: ApprovalDesk
    budgets: BudgetBook
    calls: CallService
    catalog: CatalogService
    costs: CostService
    definitions: DefinitionService
    elicitation: ElicitationDesk
    endpoints: EndpointService
    events: EventService
    gateway: GatewayDesk
    groups: GroupService
    held: HeldCalls
    identity: IdentityService
    instances: InstanceService
    models: ModelService
    notices: NoticeService
    policies: PolicyService
    requests: HitlQueue
    sampling: SamplingDesk
