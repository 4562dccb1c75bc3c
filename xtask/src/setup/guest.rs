//! What the tests boot as a guest: QEMU from the distribution, and its smallest
//! kernel and shell, unpacked into target/tools/guest and not installed.

use std::{
    env::consts::ARCH,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use super::packages;
use crate::{exec, refusal::Refusal, report::Report, workspace::Workspace};

/// The only kind of guest there is; `tests` ignores its test on other hosts.
const GUEST_ARCH: &str = "x86_64";
/// The smallest kernels with virtio, of Debian and of Ubuntu.
const KERNELS: [&str; 2] = ["linux-image-cloud-amd64", "linux-image-virtual"];
const SHELL: &str = "busybox-static";
/// What the guest loads; what they depend on comes along.
const MODULES: [&str; 2] = ["virtio_pci", "virtio_net"];
/// Written last, so a folder without it is an interrupted one.
const RELEASE: &str = "release";

pub fn find_or_install(workspace: &Workspace, report: &mut Report) -> Result<()> {
    if ARCH != GUEST_ARCH {
        eprintln!("skipping    guests in tests: they are {GUEST_ARCH} and this host is {ARCH}");
        return Ok(());
    }
    packages::install_missing(workspace, &packages::FOR_GUESTS, report)?;
    let guest = workspace.tools().join("guest");
    if let Ok(release) = fs::read_to_string(guest.join(RELEASE)) {
        report.found(&format!("kernel {release} and busybox (guests in tests)"));
        return Ok(());
    }
    if packages::find("apt-get").is_none() {
        bail!(Refusal::NoGuestPackages(KERNELS));
    }
    report.installing("a kernel and busybox (guests in tests; 30 to 40 MB to download)");
    let scratch = workspace.tools().join("guest-packages");
    for folder in [&guest, &scratch] {
        make_empty(folder)?;
    }
    unpack(workspace, &scratch)?;
    let release = assemble(workspace, &scratch, &guest)?;
    fs::remove_dir_all(&scratch).with_context(|| format!("remove {}", scratch.display()))?;
    write(&guest.join(RELEASE), &release)
}

/// Fetches the packages and lays their files out under the scratch folder.
fn unpack(workspace: &Workspace, scratch: &Path) -> Result<()> {
    packages::update(workspace)?;
    let mut names = kernel_packages(workspace)?;
    names.push(SHELL.to_owned());
    packages::fetch(workspace, &names, scratch)?;
    for package in entries(scratch)? {
        let mut unpack = workspace.program("dpkg-deb");
        exec::run(unpack.arg("--extract").args([&package, scratch]))?;
        fs::remove_file(&package).with_context(|| format!("remove {}", package.display()))?;
    }
    Ok(())
}

/// The packages that the distribution's name of a kernel stands for today.
fn kernel_packages(workspace: &Workspace) -> Result<Vec<String>> {
    for kernel in KERNELS {
        let mut ask = workspace.program("apt-cache");
        ask.args(["depends", "--recurse", "--important", kernel]);
        let packages = of_kernel(&exec::output(&mut ask).unwrap_or_default());
        if !packages.is_empty() {
            return Ok(packages);
        }
    }
    bail!(Refusal::NoGuestPackages(KERNELS))
}

/// Image and modules among all that a kernel depends on. Only names with a
/// release in them are packages with files.
fn of_kernel(depends: &str) -> Vec<String> {
    let with_files = |line: &&str| {
        ["linux-image-", "linux-binary-", "linux-modules-"]
            .iter()
            .filter_map(|prefix| line.strip_prefix(prefix))
            .any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let lines = depends.lines().filter(with_files);
    lines.map(str::to_owned).collect()
}

/// Takes what the guest needs from the unpacked packages and returns the
/// kernel's release.
fn assemble(workspace: &Workspace, scratch: &Path, guest: &Path) -> Result<String> {
    // Where all of /lib has moved to /usr/lib, depmod still looks in /lib.
    if !scratch.join("lib").exists() {
        let link = scratch.join("lib");
        std::os::unix::fs::symlink("usr/lib", &link).context("link lib to usr/lib")?;
    }
    let all = scratch.join("lib/modules");
    let release = match entries(&all)?.as_slice() {
        [only] => only.file_name().unwrap_or_default().to_os_string(),
        several => bail!("{} holds not one kernel: {several:?}", all.display()),
    };
    let release = release.into_string().unwrap_or_default();
    let images = [
        scratch.join(format!("boot/vmlinuz-{release}")),
        all.join(&release).join("vmlinuz"),
    ];
    let image = images.iter().find(|path| path.exists());
    let image = image.with_context(|| format!("the packages of {release} hold no vmlinuz"))?;
    copy(image, &guest.join("vmlinuz"))?;
    let shells = ["bin/busybox", "usr/bin/busybox"].map(|path| scratch.join(path));
    let shell = shells.iter().find(|path| path.exists());
    let shell = shell.context("the package busybox-static holds no busybox")?;
    copy(shell, &guest.join("root/bin/busybox"))?;
    let mut depmod = workspace.program(shell);
    exec::run(depmod.args(["depmod", "-b"]).arg(scratch).arg(&release))?;
    let to = guest.join("root/lib/modules").join(&release);
    take_modules(workspace, shell, &all.join(&release), &to)?;
    Ok(release)
}

/// Copies the modules, uncompressed, and the list of who depends on whom.
fn take_modules(workspace: &Workspace, shell: &Path, from: &Path, to: &Path) -> Result<()> {
    let list = from.join("modules.dep");
    let depends = fs::read_to_string(&list).with_context(|| format!("read {}", list.display()))?;
    for path in closure(&depends) {
        copy(&from.join(path), &to.join(path))?;
        if path.ends_with(".xz") {
            exec::run(workspace.program(shell).arg("unxz").arg(to.join(path)))?;
        }
    }
    fs::create_dir_all(to).with_context(|| format!("create {}", to.display()))?;
    write(&to.join("modules.dep"), &depends.replace(".ko.xz", ".ko"))
}

/// The files of the modules and of all they depend on, by a `modules.dep`. One
/// that is not in the list is built into the kernel.
fn closure(depends: &str) -> Vec<&str> {
    let mut files: Vec<&str> = depends
        .lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(file, _)| MODULES.contains(&module_name(file)))
        .flat_map(|(file, others)| others.split_whitespace().chain([file]))
        .collect();
    files.sort_unstable();
    files.dedup();
    files
}

fn module_name(file: &str) -> &str {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.split('.').next().unwrap_or(name)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let list = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    list.map(|entry| Ok(entry?.path())).collect()
}

fn make_empty(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("remove {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let folder = to.parent().context("a file lies in a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    let copied = fs::copy(from, to);
    copied.with_context(|| format!("copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernels_own_packages_are_told_from_what_else_it_depends_on() {
        let debian = "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-56-cloud-amd64\n\
                      linux-image-6.1.0-56-cloud-amd64\n  Depends: kmod\n  Depends: linux-base\n\
                      kmod\nlinux-base\n";
        assert_eq!(of_kernel(debian), ["linux-image-6.1.0-56-cloud-amd64"]);
        let split = "linux-image-virtual\nlinux-image-6.8.0-60-generic\n\
                     linux-modules-6.8.0-60-generic\n<linux-initramfs-tool>\n";
        assert_eq!(
            of_kernel(split),
            [
                "linux-image-6.8.0-60-generic",
                "linux-modules-6.8.0-60-generic"
            ]
        );
        assert!(of_kernel("").is_empty());
    }

    #[test]
    fn modules_bring_what_they_depend_on_once() {
        let depends = "kernel/net/core/failover.ko.xz:\n\
                       kernel/drivers/net/virtio_net.ko.xz: kernel/net/core/failover.ko.xz \
                       kernel/drivers/virtio/virtio.ko.xz\n\
                       kernel/drivers/virtio/virtio_pci.ko.xz: kernel/drivers/virtio/virtio.ko.xz\n\
                       kernel/drivers/net/tun.ko.xz:\n";
        assert_eq!(
            closure(depends),
            [
                "kernel/drivers/net/virtio_net.ko.xz",
                "kernel/drivers/virtio/virtio.ko.xz",
                "kernel/drivers/virtio/virtio_pci.ko.xz",
                "kernel/net/core/failover.ko.xz",
            ]
        );
        assert!(
            closure("kernel/drivers/net/tun.ko:\n").is_empty(),
            "built in"
        );
    }
}
