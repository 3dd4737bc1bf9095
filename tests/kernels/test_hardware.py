import pytest

from kernels.hardware import ALL, hardware_for, hardware_named, occupancy

H200 = hardware_named("H200")


@pytest.mark.parametrize(
    ("device", "name"),
    [
        ("NVIDIA H200", "H200"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA A100-SXM4-80GB", "A100"),
        ("NVIDIA B200", "B200"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("AMD Instinct MI300X", "MI300X"),
        ("NVIDIA H20", None),
        ("NVIDIA L40", None),
        ("NVIDIA GeForce RTX 4090 D", None),
        ("NVIDIA H200 MIG 1g.18gb", None),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA H100 NVL", "H100 NVL"),
        ("NVIDIA H200 NVL", "H200 NVL"),
        ("NVIDIA GH200 480GB", "GH200"),
        ("NVIDIA GH200 144G HBM3e", "GH200 144GB"),
        ("NVIDIA A100-PCIE-40GB", "A100 PCIe 40GB"),
        ("NVIDIA A100 80GB PCIe", "A100 PCIe 80GB"),
        ("NVIDIA A10G", "A10G"),
        ("NVIDIA L4", "L4"),
        ("NVIDIA GeForce RTX 3090", "RTX 3090"),
        ("NVIDIA GeForce RTX 3090 Ti", None),
        ("NVIDIA GeForce RTX 5090", "RTX 5090"),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "RTX PRO 6000"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTX PRO 6000 Server"),
        ("AMD Instinct MI325X", "MI325X"),
        ("AMD Instinct MI355X", "MI355X"),
        ("", None),
    ],
)
def test_a_device_is_known_by_its_whole_name(device, name):
    found = hardware_for(device)
    assert (found.name if found else None) == name


def test_names_are_unique_and_read_in_any_case():
    assert len({h.name for h in ALL}) == len(ALL)
    assert hardware_named("rtx4090").name == "RTX 4090"
    with pytest.raises(ValueError, match="no facts about hardware 'H300'; there are facts about A100, H100, H200"):
        hardware_named("H300")


@pytest.mark.parametrize(
    ("registers", "shared", "warps", "blocks", "limit"),
    [
        (168, 180_256, 8, 1, "registers"),  # 65536 / (168 * 32) = 3 warps a partition = 12 warps
        (32, 100 * 1024, 4, 2, "shared"),
        (32, 116 * 1024, 4, 1, "shared"),  # twice 116 KiB fits 232 KiB but for the reserved kibibyte of each
        (32, 0, 8, 8, "registers"),
        (24, 0, 4, 16, "warps"),
        (16, 0, 1, 32, "blocks"),
        (33, 0, 32, 1, "registers"),  # rounded up to 40
        (255, 0, 16, 0, "registers"),
        (32, 228 * 1024, 4, 0, "shared"),
    ],
)
def test_occupancy_on_hopper(registers, shared, warps, blocks, limit):
    got, share, limited_by = occupancy(H200, registers, shared, warps)
    assert (got, limited_by) == (blocks, limit)
    assert share == pytest.approx(blocks * warps / 64)


def test_occupancy_on_cdna3_follows_registers_a_lane():
    mi300x = hardware_named("MI300X")
    assert occupancy(mi300x, 128, 0, 4) == (4, 0.5, "registers")
    assert occupancy(mi300x, 129, 0, 4)[0] == 3
    assert occupancy(mi300x, 64, 64 * 1024, 4) == (1, 0.125, "shared")


def test_occupancy_refuses_numbers_without_meaning():
    with pytest.raises(ValueError, match="no meaning"):
        occupancy(H200, 32, 0, 0)


@pytest.mark.parametrize("hardware", ALL, ids=lambda h: h.name)
def test_facts_are_whole_and_sourced(hardware):
    assert hardware.sources
    assert {"fp16", "bf16"} <= set(hardware.peak)
    assert hardware.shared_per_block <= hardware.shared_per_sm
    assert 1e11 < hardware.bandwidth < 1e13
