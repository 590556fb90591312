"""Table from GPU name to compute capability: every NVIDIA GPU sold since Turing, and older ones still in use.

Names are those that NVIDIA's driver reports. Sources: the table of compatible GPUs that NVIDIA publishes with its open
kernel modules (driver names from Turing on), NVIDIA's "CUDA GPU Compute Capability" page (name → capability, data
centre and Jetson), and the product names of the GeForce 50 and RTX PRO Blackwell series.
"""

from __future__ import annotations

Group = tuple[int, int, str, str]
"""Major, minor, the words that start every name of the group, and the rest of each name."""

GPUS: tuple[Group, ...] = (
    # Turing
    (7, 5, "NVIDIA ", "TITAN RTX"),
    (7, 5, "NVIDIA GeForce RTX ", "2080 Ti, 2080 SUPER, 2080, 2070 SUPER, 2070, 2060 SUPER, 2060, 2060 12GB"),
    (7, 5, "NVIDIA GeForce RTX ", "2080 Super with Max-Q Design, 2080 with Max-Q Design"),
    (7, 5, "NVIDIA GeForce RTX ", "2070 Super with Max-Q Design, 2070 with Max-Q Design"),
    (
        7,
        5,
        "NVIDIA GeForce RTX ",
        "2060 with Max-Q Design, 2080 Laptop GPU, 2070 Laptop GPU, 2060 Laptop GPU",
    ),
    (7, 5, "NVIDIA GeForce RTX ", "2080 SUPER Laptop GPU, 2070 SUPER Laptop GPU"),
    (7, 5, "NVIDIA GeForce GTX ", "1660 Ti, 1660 SUPER, 1660, 1650 SUPER, 1650 Ti, 1650, 1630"),
    (7, 5, "NVIDIA GeForce GTX ", "1660 Ti with Max-Q Design, 1650 Ti with Max-Q Design"),
    (7, 5, "NVIDIA GeForce GTX ", "1650 with Max-Q Design"),
    (7, 5, "NVIDIA GeForce ", "MX450, MX550"),
    (7, 5, "Quadro RTX ", "8000, 6000, 5000, 4000, 3000, 5000 with Max-Q Design, 4000 with Max-Q Design"),
    (7, 5, "Quadro RTX ", "6000 with Max-Q Design, 3000 with Max-Q Design"),
    (7, 5, "Quadro ", "T2000, T1000, T2000 with Max-Q Design, T1000 with Max-Q Design"),
    (
        7,
        5,
        "NVIDIA ",
        "T1000, T1000 8GB, T600, T400, T400 4GB, T400E, T500, T1200 Laptop GPU, T600 Laptop GPU",
    ),
    (7, 5, "NVIDIA ", "T550 Laptop GPU, T1000 Laptop GPU, T2000 Laptop GPU"),
    (7, 5, "", "Tesla T4, NVIDIA T4, Tesla T10, Tesla T40, NVIDIA T4G"),
    (7, 5, "NVIDIA CMP ", "30HX, 40HX, 50HX"),
    # Ampere, data centre
    (8, 0, "NVIDIA ", "A100, A100-SXM4-40GB, A100-SXM4-80GB, A100-SXM-64GB, A100 80GB PCIe, A100-PCIE-40GB"),
    (8, 0, "NVIDIA ", "A100X, A800, A800-SXM4-40GB, A800-SXM4-80GB, A800 80GB PCIe, A800 40GB Active"),
    (
        8,
        0,
        "NVIDIA ",
        "A800 80GB PCIe LC, A30, A30X, AX800, PG509-210, PG506-232, DRIVE-PG199-PROD, CMP 170HX",
    ),
    # Ampere
    (
        8,
        6,
        "NVIDIA GeForce RTX ",
        "3090 Ti, 3090, 3080 Ti, 3080, 3080 12GB, 3070 Ti, 3070, 3060 Ti, 3060, 3050",
    ),
    (8, 6, "NVIDIA GeForce RTX ", "3060 12GB, 3060 8GB, 3050 6GB, 3050 8GB, 3050 OEM"),
    (8, 6, "NVIDIA GeForce RTX ", "3080 Ti Laptop GPU, 3080 Laptop GPU, 3070 Ti Laptop GPU, 3070 Laptop GPU"),
    (8, 6, "NVIDIA GeForce RTX ", "3060 Laptop GPU, 3050 Ti Laptop GPU, 3050 Laptop GPU"),
    (8, 6, "NVIDIA GeForce RTX ", "3050 4GB Laptop GPU, 3050 6GB Laptop GPU, 2050, 2050 Laptop GPU"),
    (8, 6, "NVIDIA GeForce ", "MX570, MX570 A"),
    (8, 6, "NVIDIA RTX ", "A6000, A5500, A5000, A4500, A4000, A4000H, A2000, A2000 12GB, A1000, A400"),
    (8, 6, "NVIDIA RTX ", "A5500 Laptop GPU, A5000 Laptop GPU, A4500 Laptop GPU, A4000 Laptop GPU"),
    (8, 6, "NVIDIA RTX ", "A3000 Laptop GPU, A3000 12GB Laptop GPU, A2000 Laptop GPU, A2000 8GB Laptop GPU"),
    (8, 6, "NVIDIA RTX ", "A1000 Laptop GPU, A1000 6GB Laptop GPU, A500 Laptop GPU, A4500 Embedded GPU"),
    (8, 6, "NVIDIA RTX ", "A2000 Embedded GPU, A1000 Embedded GPU, A500 Embedded GPU"),
    (8, 6, "NVIDIA ", "A40, A10, A10G, A10M, A16, A2, CMP 70HX, CMP 90HX"),
    (
        8,
        7,
        "NVIDIA ",
        "Jetson AGX Orin, Jetson Orin NX, Jetson Orin Nano, Jetson Orin Nano Super, Jetson Orin",
    ),
    (8, 7, "NVIDIA ", "IGX Orin, DRIVE AGX Orin, DRIVE Orin, Orin"),
    # Ada Lovelace
    (8, 9, "NVIDIA GeForce RTX ", "4090, 4090 D, 4080 SUPER, 4080, 4070 Ti SUPER, 4070 Ti, 4070 SUPER, 4070"),
    (8, 9, "NVIDIA GeForce RTX ", "4060 Ti, 4060, 4090 Laptop GPU, 4080 Laptop GPU, 4070 Laptop GPU"),
    (8, 9, "NVIDIA GeForce RTX ", "4060 Laptop GPU, 4050 Laptop GPU, 3050 A Laptop GPU"),
    (
        8,
        9,
        "NVIDIA RTX ",
        "6000 Ada Generation, 5880 Ada Generation, 5000 Ada Generation, 4500 Ada Generation",
    ),
    (8, 9, "NVIDIA RTX ", "4000 Ada Generation, 4000 SFF Ada Generation, 2000 Ada Generation"),
    (
        8,
        9,
        "NVIDIA RTX ",
        "2000E Ada Generation, 5000 Ada Generation Laptop GPU, 4000 Ada Generation Laptop GPU",
    ),
    (8, 9, "NVIDIA RTX ", "3500 Ada Generation Laptop GPU, 3000 Ada Generation Laptop GPU"),
    (8, 9, "NVIDIA RTX ", "2000 Ada Generation Laptop GPU, 1000 Ada Generation Laptop GPU"),
    (8, 9, "NVIDIA RTX ", "500 Ada Generation Laptop GPU, 5000 Ada Generation Embedded GPU"),
    (8, 9, "NVIDIA RTX ", "3500 Ada Generation Embedded GPU, 2000 Ada Generation Embedded GPU"),
    (8, 9, "NVIDIA ", "L4, L40, L40S, L40G, L20, L2, L40 CNX"),
    # Hopper
    (
        9,
        0,
        "NVIDIA ",
        "H100, H100 80GB HBM3, H100 PCIe, H100 NVL, H100 SXM5, H100 64GB HBM2, H800, H800 PCIe",
    ),
    (
        9,
        0,
        "NVIDIA ",
        "H800 NVL, H200, H200 NVL, H20, H20-3e, GH200, GH200 120GB, GH200 480GB, GH200 144G HBM3e",
    ),
    # Blackwell, data centre and embedded
    (10, 0, "NVIDIA ", "B100, B200, GB200, HGX B200, DGX B200"),
    (10, 3, "NVIDIA ", "B300, GB300, B300 SXM6 AC, HGX B300, DGX B300, DGX Station GB300"),
    (
        11,
        0,
        "NVIDIA ",
        "Jetson AGX Thor, Jetson Thor, Jetson T5000, Jetson T4000, IGX Thor, DRIVE AGX Thor, Thor",
    ),
    # Blackwell
    (12, 0, "NVIDIA GeForce RTX ", "5090, 5090 D, 5090 D v2, 5080, 5070 Ti, 5070, 5060 Ti, 5060, 5050"),
    (12, 0, "NVIDIA GeForce RTX ", "5090 Laptop GPU, 5080 Laptop GPU, 5070 Ti Laptop GPU, 5070 Laptop GPU"),
    (12, 0, "NVIDIA GeForce RTX ", "5060 Laptop GPU, 5050 Laptop GPU"),
    (12, 0, "NVIDIA RTX PRO ", "6000 Blackwell Workstation Edition, 6000 Blackwell Server Edition"),
    (
        12,
        0,
        "NVIDIA RTX PRO ",
        "6000 Blackwell Max-Q Workstation Edition, 6000D, 5000 Blackwell, 4500 Blackwell",
    ),
    (12, 0, "NVIDIA RTX PRO ", "4500 Blackwell Server Edition, 4000 Blackwell, 4000 Blackwell SFF Edition"),
    (12, 0, "NVIDIA RTX PRO ", "2000 Blackwell, 5000 Blackwell Generation Laptop GPU"),
    (12, 0, "NVIDIA RTX PRO ", "4000 Blackwell Generation Laptop GPU, 3000 Blackwell Generation Laptop GPU"),
    (12, 0, "NVIDIA RTX PRO ", "2000 Blackwell Generation Laptop GPU, 1000 Blackwell Generation Laptop GPU"),
    (12, 0, "NVIDIA RTX PRO ", "500 Blackwell Generation Laptop GPU, 5000 Blackwell Embedded GPU"),
    (12, 1, "NVIDIA ", "GB10, DGX Spark"),
)

OLDER_GPUS: tuple[Group, ...] = (
    (7, 0, "", "Tesla V100, Tesla V100-PCIE-16GB, Tesla V100-PCIE-32GB, Tesla V100-SXM2-16GB"),
    (7, 0, "", "Tesla V100-SXM2-32GB, Tesla V100S-PCIE-32GB, Tesla V100-SXM3-32GB, Tesla V100-FHHL-16GB"),
    (7, 0, "", "NVIDIA TITAN V, Quadro GV100, NVIDIA CMP 100-210, NVIDIA CMP 100HX"),
    (
        7,
        2,
        "NVIDIA ",
        "Jetson AGX Xavier, Jetson Xavier NX, Jetson Xavier, DRIVE AGX Xavier, DRIVE AGX Pegasus",
    ),
    (6, 1, "NVIDIA GeForce GTX ", "1080 Ti, 1080, 1070 Ti, 1070, 1060, 1060 3GB, 1060 6GB, 1050 Ti, 1050"),
    (6, 1, "NVIDIA GeForce ", "GT 1030, GT 1010, MX350, MX330, MX250, MX230, MX150, MX130"),
    (6, 1, "NVIDIA TITAN ", "X, Xp"),
    (6, 1, "Tesla ", "P4, P40, P6"),
    (
        6,
        1,
        "Quadro ",
        "P6000, P5200, P5000, P4200, P4000, P3200, P3000, P2200, P2000, P1000, P620, P600, P520",
    ),
    (6, 1, "Quadro ", "P500, P400"),
    (6, 0, "", "Tesla P100, Tesla P100-PCIE-16GB, Tesla P100-PCIE-12GB, Tesla P100-SXM2-16GB, Quadro GP100"),
    (6, 2, "NVIDIA ", "Jetson TX2, Jetson TX2 NX, DRIVE PX 2"),
    (5, 2, "NVIDIA GeForce GTX ", "980 Ti, 980, 970, 960, 950, TITAN X"),
    (
        5,
        2,
        "",
        "Tesla M60, Tesla M40, Tesla M4, Tesla M6, Quadro M6000, Quadro M5000, Quadro M4000, Quadro M2000",
    ),
    (5, 3, "NVIDIA ", "Jetson Nano, Jetson TX1"),
    (5, 0, "NVIDIA GeForce ", "GTX 750 Ti, GTX 750, 940MX, 930MX, MX110"),
    (5, 0, "", "Tesla M10, Quadro K2200, Quadro K1200, Quadro K620"),
)
"""TensorRT dropped these, Volta last (10.5); they are here so that the refusal can say why."""
