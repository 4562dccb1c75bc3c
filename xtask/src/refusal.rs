//! What this machine may lack. A refusal is one sentence that names the cause
//! and the remedy; the process then exits with code 2.

use std::{error::Error, fmt};

use crate::setup::version::{OLDEST_KERNEL, Version};

#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    NotRoot,
    KernelTooOld(Version),
    NoBtf,
    /// The named thing has to be downloaded and no registry answers.
    NoRegistry(&'static str),
    /// Neither rustup nor the distribution has sources of `core`.
    NoCoreSources,
    /// bpf-linker is bound to the LLVM of the compiler and knows only some.
    LlvmOutOfReach(u32),
    NoSharedLlvm(u32),
    NoPackageManager(String),
    /// No apt-get, or none of the kernels that guests in tests boot.
    NoGuestPackages([&'static str; 2]),
    /// The machine does not install from Debian, or lacks its keys.
    NoDebian {
        mirror: &'static str,
        keyring: &'static str,
    },
    /// What was wished for, and what there is.
    NoKernel(String, String),
    NoBpffs,
}

impl Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRoot => write!(
                f,
                "this needs root, for packages, network namespaces and kernel programs: run it \
                 as root, for example with `sudo -E env \"PATH=$PATH\" cargo xtask …` \
                 (`build` and `check` can do without)"
            ),
            Self::KernelTooOld(found) => write!(
                f,
                "the running kernel is {found} and the data path needs {OLDEST_KERNEL} or newer: \
                 boot a newer kernel"
            ),
            Self::NoBtf => write!(
                f,
                "the running kernel has no BTF (/sys/kernel/btf/vmlinux is missing): boot one \
                 built with CONFIG_DEBUG_INFO_BTF=y, as the kernels of Debian and Ubuntu are"
            ),
            Self::NoRegistry(what) => write!(
                f,
                "{what} has to be downloaded and no package registry can be reached: connect \
                 this machine or configure its proxy or mirror, then run the command again"
            ),
            Self::NoCoreSources => write!(
                f,
                "there is no rustup and no distribution compiler with its sources, so `core` \
                 cannot be built for the kernel: install rustup, or on Debian the packages \
                 rustc-web, cargo-web and rust-web-src"
            ),
            Self::LlvmOutOfReach(major) => write!(
                f,
                "the compiler uses LLVM {major} and this bpf-linker can be built for LLVM 21 to \
                 23: use the toolchain that rust-toolchain.toml names"
            ),
            Self::NoSharedLlvm(major) => write!(
                f,
                "the compiler brings no shared libLLVM {major} to build bpf-linker against: use \
                 rustup's toolchain, or name a bpf-linker of your own in VPC_BPF_LINKER"
            ),
            Self::NoPackageManager(missing) => write!(
                f,
                "missing on this machine: {missing}; there is no apt-get here to install them, \
                 so install them with your own package manager"
            ),
            Self::NoGuestPackages([debian, ubuntu]) => write!(
                f,
                "guests in tests boot {debian} of Debian or {ubuntu} of Ubuntu, and there is no \
                 apt-get here or its sources have neither: add the distribution's own archive to \
                 them, or copy target/tools/guest from a machine that has it"
            ),
            Self::NoDebian { mirror, keyring } => write!(
                f,
                "kernels for virtual machines come from Debian, and this machine installs from \
                 no mirror of it or has no {keyring}: install debian-archive-keyring and name a \
                 mirror in {mirror}"
            ),
            Self::NoKernel(wish, offers) => write!(
                f,
                "Debian's mirror has no kernel {wish}; it has: {offers}. Name one of these"
            ),
            Self::NoBpffs => write!(
                f,
                "/sys/fs/bpf is no BPF file system and mounting one was refused, as happens in \
                 an unprivileged container: run on the host or in a privileged container"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_refusal() -> Vec<(Refusal, &'static [&'static str])> {
        vec![
            (Refusal::NotRoot, &["root", "sudo"]),
            (
                Refusal::KernelTooOld(Version(5, 15)),
                &["5.15", "6.1", "boot"],
            ),
            (
                Refusal::NoBtf,
                &["/sys/kernel/btf/vmlinux", "CONFIG_DEBUG_INFO_BTF"],
            ),
            (
                Refusal::NoRegistry("rust-src"),
                &["rust-src", "registry", "proxy"],
            ),
            (
                Refusal::NoCoreSources,
                &["no rustup", "rust-web-src", "install"],
            ),
            (
                Refusal::LlvmOutOfReach(24),
                &["LLVM 24", "rust-toolchain.toml"],
            ),
            (Refusal::NoSharedLlvm(22), &["libLLVM 22", "VPC_BPF_LINKER"]),
            (
                Refusal::NoPackageManager("nft (nftables)".into()),
                &["nft", "install them"],
            ),
            (
                Refusal::NoGuestPackages(["linux-image-one", "linux-image-two"]),
                &["linux-image-one", "apt-get", "target/tools/guest"],
            ),
            (
                Refusal::NoDebian {
                    mirror: "MIRROR",
                    keyring: "/keys",
                },
                &["MIRROR", "/keys", "debian-archive-keyring"],
            ),
            (
                Refusal::NoKernel("6.18".into(), "6.1.1 (bookworm)".into()),
                &["6.18", "6.1.1 (bookworm)", "Name one"],
            ),
            (Refusal::NoBpffs, &["/sys/fs/bpf", "container"]),
        ]
    }

    #[test]
    fn each_refusal_is_one_line_with_cause_and_remedy() {
        for (refusal, words) in every_refusal() {
            let sentence = refusal.to_string();
            assert!(
                !sentence.contains(['\n', '\t']) && !sentence.contains("  "),
                "{sentence}"
            );
            for word in words {
                assert!(sentence.contains(word), "{word:?} in {sentence:?}");
            }
        }
    }

    #[test]
    fn a_refusal_is_recognised_beneath_its_context() {
        let error = anyhow::Error::new(Refusal::NoBtf).context("setup");
        assert!(error.downcast_ref::<Refusal>().is_some());
    }
}
