"""The planted kernels as a list, for the tests and for the card."""

from tests.tools.evidence import planted, planted_matrix

KERNELS = (
    planted.Dram,
    planted.L2Port,
    planted_matrix.SharedPort,
    planted_matrix.BankConflicts,
    planted_matrix.TensorCores,
    planted.SpecialFunctions,
    planted.IssueSlots,
    planted.Latency,
    planted.LaunchOverhead,
    planted.TailWave,
    planted.Imbalance,
    planted.Spills,
    planted_matrix.Serialised,
    planted.Atomics,
)
