"""Other machines: a crew of workers on a Ray cluster, which share any work that consists of items.

The extra ``cluster`` brings Ray. What the workers do is told by who hires them; nothing here knows of measurements.
"""

from crsdun.cluster.connection import connected
from crsdun.cluster.crew import Crew, Maker, Staff, Work

__all__ = ["Crew", "Maker", "Staff", "Work", "connected"]
