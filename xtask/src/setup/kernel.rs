//! A kernel that boots in a virtual machine: the packages of a distribution's
//! kernel, unpacked and not installed, with the modules that tests need and busybox.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use super::packages;
use crate::{exec, workspace::Workspace};

pub const SHELL: &str = "busybox-static";
/// What guests load; what they depend on comes along. A list and not a choice: which of
/// them a kernel has as modules is its own affair, and all of them are small.
const MODULES: [&str; 13] = [
    "8021q",
    "act_bpf",
    "bridge",
    "cls_bpf",
    "dummy",
    "macvlan",
    "sch_fq",
    "sch_ingress",
    "tun",
    "veth",
    "virtio_net",
    "virtio_pci",
    "vxlan",
];
/// Written last, so a folder without it is an interrupted one. Holds the kernel's
/// release, such as `6.1.0-50-cloud-amd64`.
const RELEASE: &str = "release";
/// Holds the version of the kernel's package, such as `6.1.176-1`.
const VERSION: &str = "version";
/// Written with it: which modules were taken, so that another list takes them anew.
const TAKEN: &str = "modules";

/// The release of the kernel that lies in a folder, complete.
pub fn release(folder: &Path) -> Option<String> {
    let taken = fs::read_to_string(folder.join(TAKEN)).ok()?;
    let release = fs::read_to_string(folder.join(RELEASE)).ok()?;
    (taken == MODULES.join("\n")).then_some(release)
}

/// Fetches the packages and makes of them a folder with `vmlinuz`, and with `root`,
/// which holds busybox and the modules. Returns the kernel's release.
pub fn make(
    workspace: &Workspace,
    archive: &packages::Archive,
    names: &[String],
    folder: &Path,
) -> Result<String> {
    let mut scratch = folder.as_os_str().to_owned();
    scratch.push(".packages");
    let scratch = PathBuf::from(scratch);
    for folder in [folder, &scratch] {
        make_empty(folder)?;
    }
    let version = unpack(workspace, archive, names, &scratch)?;
    let release = assemble(workspace, &scratch, folder)?;
    fs::remove_dir_all(&scratch).with_context(|| format!("remove {}", scratch.display()))?;
    write(&folder.join(VERSION), &version)?;
    write(&folder.join(TAKEN), &MODULES.join("\n"))?;
    write(&folder.join(RELEASE), &release)?;
    Ok(release)
}

/// Image and modules among all that a kernel depends on. Only names with a
/// release in them are packages with files.
pub fn packages_of(depends: &str) -> Vec<String> {
    let with_files = |line: &&str| {
        ["linux-image-", "linux-binary-", "linux-modules-"]
            .iter()
            .filter_map(|prefix| line.strip_prefix(prefix))
            .any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let lines = depends.lines().filter(with_files);
    lines.map(str::to_owned).collect()
}

/// Fetches the packages and lays their files out under the scratch folder. Returns the
/// version of the kernel's.
fn unpack(
    workspace: &Workspace,
    archive: &packages::Archive,
    names: &[String],
    scratch: &Path,
) -> Result<String> {
    archive.fetch(workspace, names, scratch)?;
    let packages = entries(scratch)?;
    let version = packages.iter().find_map(|package| version_of(package));
    let version = version.context("apt fetched no kernel")?;
    for package in packages {
        let mut unpack = workspace.program("dpkg-deb");
        exec::run(unpack.arg("--extract").args([&package, scratch]))?;
        fs::remove_file(&package).with_context(|| format!("remove {}", package.display()))?;
    }
    Ok(version)
}

/// The version in the file name of a kernel's package,
/// `linux-image-6.1.0-50-cloud-amd64_6.1.176-1_amd64.deb`.
fn version_of(package: &Path) -> Option<String> {
    let name = package.file_name()?.to_str()?;
    let mut parts = name.split('_');
    let is_kernel = !packages_of(parts.next()?).is_empty();
    is_kernel.then(|| parts.next().map(str::to_owned))?
}

/// Takes what the guest needs from the unpacked packages and returns the
/// kernel's release.
fn assemble(workspace: &Workspace, scratch: &Path, folder: &Path) -> Result<String> {
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
    copy(image, &folder.join("vmlinuz"))?;
    let shells = ["bin/busybox", "usr/bin/busybox"].map(|path| scratch.join(path));
    let shell = shells.iter().find(|path| path.exists());
    let shell = shell.context("the package busybox-static holds no busybox")?;
    copy(shell, &folder.join("root/bin/busybox"))?;
    let mut depmod = workspace.program(shell);
    exec::run(depmod.args(["depmod", "-b"]).arg(scratch).arg(&release))?;
    let to = folder.join("root/lib/modules").join(&release);
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
        assert_eq!(packages_of(debian), ["linux-image-6.1.0-56-cloud-amd64"]);
        let split = "linux-image-virtual\nlinux-image-6.8.0-60-generic\n\
                     linux-modules-6.8.0-60-generic\n<linux-initramfs-tool>\n";
        assert_eq!(
            packages_of(split),
            [
                "linux-image-6.8.0-60-generic",
                "linux-modules-6.8.0-60-generic"
            ]
        );
        assert!(packages_of("").is_empty());
    }

    #[test]
    fn a_kernels_version_is_that_of_its_package() {
        for (file, version) in [
            (
                "linux-image-6.1.0-50-cloud-amd64_6.1.176-1_amd64.deb",
                Some("6.1.176-1"),
            ),
            (
                "linux-binary-7.3.4+deb13_7.3.4-1~bpo13+1_amd64.deb",
                Some("7.3.4-1~bpo13+1"),
            ),
            ("busybox-static_1%3a1.38.0-3_amd64.deb", None),
            ("linux-image-6.1.0", None),
        ] {
            let found = version_of(&Path::new("/scratch").join(file));
            assert_eq!(found.as_deref(), version, "{file}");
        }
    }

    #[test]
    fn modules_bring_what_they_depend_on_once() {
        let depends = "kernel/net/core/failover.ko.xz:\n\
                       kernel/drivers/net/virtio_net.ko.xz: kernel/net/core/failover.ko.xz \
                       kernel/drivers/virtio/virtio.ko.xz\n\
                       kernel/drivers/virtio/virtio_pci.ko.xz: kernel/drivers/virtio/virtio.ko.xz\n\
                       kernel/drivers/net/loopback.ko.xz:\n";
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
            closure("kernel/drivers/net/loopback.ko:\n").is_empty(),
            "built in"
        );
    }
}
