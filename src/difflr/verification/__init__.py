"""One real step, measured against what the plan promises."""

from difflr.verification.judgment import PlanNotKept, Verification
from difflr.verification.verify import verify
from difflr.verification.verify_plan import VerifyPlan

__all__ = ["PlanNotKept", "Verification", "VerifyPlan", "verify"]
