"""Whether everything that the service stands on is as it must be, and what to do where it is not.

Each module looks at one subject. What it can find is declared at its top as `Verdict`s: the texts
that people read are in one place, each with a code of its own.
"""

from edge.doctor.examination import Examination
from edge.doctor.finding import Finding, State, Verdict

__all__ = ["Examination", "Finding", "State", "Verdict"]
