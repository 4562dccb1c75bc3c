//! The kernel object: makes its tables on the first start, adopts them on every
//! later one, and refuses what does not fit without touching it.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::Path,
};

use crate::OBJECT;
use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, HashMap, Map, MapData, MapError, MapInfo},
};
use vpc_common::{
    drop::DropReason,
    layout::{DropKey, FlowHash, LAYOUT, Limits, Meta, Name, NameKey, Owner, Slab, name, program},
};

use super::{
    flow_hash,
    mapped::Mapped,
    skb::skb_layout,
    spec::{self, Shape, TableSpec},
    start_error::StartError,
};

/// Folder of the tables under the folder of pins.
pub const MAPS: &str = "maps";
/// Folder of the links under the folder of pins.
pub const LINKS: &str = "links";

const BPF_NOEXIST: u64 = 1;
const BPF_F_NO_PREALLOC: u32 = 1;

/// The loaded object.
pub struct Object {
    /// Programs, not loaded into the kernel yet, bound to the pinned tables.
    pub ebpf: Ebpf,
    /// Whether the tables were there.
    pub adopted: bool,
}

enum Found {
    Nothing,
    HalfMade,
    Ready,
}

/// Makes the folders under `pin_dir`, which must be on a BPF filesystem.
pub fn make_folders(pin_dir: &Path) -> Result<(), StartError> {
    let existing = pin_dir
        .ancestors()
        .find(|path| path.exists())
        .unwrap_or(pin_dir);
    let kind = nix::sys::statfs::statfs(existing).map_err(|errno| StartError::Io {
        path: existing.into(),
        source: errno.into(),
    })?;
    if kind.filesystem_type() != nix::sys::statfs::BPF_FS_MAGIC {
        return Err(StartError::NotBpffs {
            dir: pin_dir.into(),
        });
    }
    for dir in [pin_dir.join(MAPS), pin_dir.join(LINKS)] {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.map_err(|source| StartError::Io { path: dir, source })?;
    }
    Ok(())
}

/// Makes or adopts the tables and binds the programs to them.
pub fn open(pin_dir: &Path, limits: &Limits) -> Result<Object, StartError> {
    make_folders(pin_dir)?;
    let maps = pin_dir.join(MAPS);
    let adopted = match inspect(pin_dir, limits)? {
        Found::Ready => true,
        Found::HalfMade => {
            remove_pins(&maps)?;
            false
        }
        Found::Nothing => false,
    };
    let specs = spec::kernel_tables(limits);
    let skb_layout = skb_layout()?;
    let mut loader = EbpfLoader::new();
    loader.override_global(program::SKB_LAYOUT, &skb_layout, true);
    for spec in &specs {
        loader.map_pin_path(spec.name, maps.join(spec.name));
        if let Some(entries) = spec.shape.entries {
            loader.map_max_entries(spec.name, entries);
        }
    }
    let ebpf = loader.load(OBJECT).map_err(|source| StartError::Load {
        source: Box::new(source),
    })?;
    if !adopted {
        for spec in &specs {
            check(&maps, spec)?;
        }
        initialise(&maps, limits)?;
    }
    Ok(Object { ebpf, adopted })
}

/// Whether there are complete tables, and fitting ones.
pub fn is_ready(pin_dir: &Path, limits: &Limits) -> Result<bool, StartError> {
    let exist = pin_dir.join(MAPS).exists() && pin_dir.join(LINKS).exists();
    Ok(exist && matches!(inspect(pin_dir, limits)?, Found::Ready))
}

fn inspect(pin_dir: &Path, limits: &Limits) -> Result<Found, StartError> {
    let (maps, links) = (pin_dir.join(MAPS), pin_dir.join(LINKS));
    let is_empty = |dir: &Path| match fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(source) => Err(StartError::Io {
            path: dir.into(),
            source,
        }),
    };
    let meta = read_meta(pin_dir)?;
    let Some(meta) = meta.filter(|meta| meta.ready == 1) else {
        if !is_empty(&links)? {
            return Err(StartError::LinksWithoutTables { dir: links });
        }
        return Ok(if is_empty(&maps)? {
            Found::Nothing
        } else {
            Found::HalfMade
        });
    };
    if meta.layout != LAYOUT {
        return Err(StartError::Layout {
            dir: pin_dir.into(),
            found: meta.layout.to_string(),
        });
    }
    if meta.limits != *limits {
        let differences = spec::differences(&meta.limits, limits);
        return Err(StartError::Limits {
            dir: pin_dir.into(),
            differences,
        });
    }
    for spec in spec::kernel_tables(limits)
        .iter()
        .chain([&spec::names_table(limits)])
    {
        check(&maps, spec)?;
    }
    Ok(Found::Ready)
}

/// What the tables were made for; `None` if there are none.
pub fn read_meta(pin_dir: &Path) -> Result<Option<Meta>, StartError> {
    let path = pin_dir.join(MAPS).join(name::META);
    if !path.exists() {
        return Ok(None);
    }
    let unreadable = |source: MapError| StartError::Map {
        table: name::META,
        source: Box::new(source),
    };
    let info = MapInfo::from_pin(&path).map_err(unreadable)?;
    if (info.key_size(), info.value_size()) != (4, size_of::<Meta>() as u32) {
        let found = format!("unknown (its head is {} bytes)", info.value_size());
        return Err(StartError::Layout {
            dir: pin_dir.into(),
            found,
        });
    }
    let array: Array<_, Meta> = pinned(&pin_dir.join(MAPS), name::META)?;
    array.get(&0, 0).map(Some).map_err(unreadable)
}

fn check(maps: &Path, spec: &TableSpec) -> Result<(), StartError> {
    let path = maps.join(spec.name);
    let (found, fits) = match MapInfo::from_pin(&path) {
        Ok(info) => {
            let found = Shape::of(&info);
            (found.to_string(), spec.shape.accepts(&found))
        }
        Err(error) => (format!("not there ({error})"), false),
    };
    if fits {
        Ok(())
    } else {
        Err(StartError::Table {
            path,
            found,
            needed: spec.shape,
        })
    }
}

/// Fills what must not be empty. The head comes last: without it the next start
/// does all of this again.
fn initialise(maps: &Path, limits: &Limits) -> Result<(), StartError> {
    let slab_failed = |source: io::Error| StartError::Map {
        table: name::SLAB,
        source: Box::new(source),
    };
    let failed = |table| {
        move |source: MapError| StartError::Map {
            table,
            source: Box::new(source),
        }
    };
    let slab = MapData::from_pin(maps.join(name::SLAB)).map_err(failed(name::SLAB))?;
    let slab = Mapped::<Slab>::new(slab.fd(), 1).map_err(slab_failed)?;
    fill_slab(&slab[0], limits.blocks as usize);

    let mut drops: HashMap<_, DropKey, u64> = pinned(maps, name::DROPS)?;
    for reason in DropReason::ALL {
        let key = DropKey::new(Owner::HOST, *reason);
        drops
            .insert(key, 0, BPF_NOEXIST)
            .map_err(failed(name::DROPS))?;
    }

    let entries = spec::names_table(limits).shape.entries.unwrap_or_default();
    let names = HashMap::<_, NameKey, Name>::create(entries, BPF_F_NO_PREALLOC)
        .map_err(failed(name::NAMES))?;
    names
        .pin(maps.join(name::NAMES))
        .map_err(|source| StartError::Map {
            table: name::NAMES,
            source: Box::new(source),
        })?;

    let mut hash: Array<_, FlowHash> = pinned(maps, name::FLOW_HASH)?;
    hash.set(0, flow_hash::draw(limits)?, 0)
        .map_err(failed(name::FLOW_HASH))?;

    let mut meta: Array<_, Meta> = pinned(maps, name::META)?;
    let value = Meta {
        layout: LAYOUT,
        ready: 1,
        limits: *limits,
    };
    meta.set(0, value, 0).map_err(failed(name::META))
}

fn fill_slab(slab: &Slab, blocks: usize) {
    for (number, word) in slab.words.iter().enumerate() {
        let in_word = blocks.saturating_sub(number * 64).min(64);
        let bits = if in_word == 64 {
            u64::MAX
        } else {
            (1 << in_word) - 1
        };
        word.store(bits);
        if bits != 0 {
            slab.summary[number / 64].fetch_or(1 << (number % 64));
        }
    }
}

/// A handle of its own on a pinned table.
pub fn pinned<T>(maps: &Path, table: &'static str) -> Result<T, StartError>
where
    T: TryFrom<Map, Error = MapError>,
{
    let open = || T::try_from(Map::from_map_data(MapData::from_pin(maps.join(table))?)?);
    open().map_err(|source| StartError::Map {
        table,
        source: Box::new(source),
    })
}

/// Removes every pin in a folder.
pub fn remove_pins(dir: &Path) -> Result<(), StartError> {
    let failed = |source| StartError::Io {
        path: dir.into(),
        source,
    };
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    for entry in entries {
        fs::remove_file(entry.map_err(failed)?.path()).map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use vpc_common::{atomic::Shared64, layout::SLAB_BLOCKS_MAX};

    use super::*;

    fn slab() -> Slab {
        Slab {
            summary: std::array::from_fn(|_| Shared64::new(0)),
            words: std::array::from_fn(|_| Shared64::new(0)),
        }
    }

    #[test]
    fn exactly_the_blocks_of_the_limits_are_free() {
        for blocks in [1, 63, 64, 65, 4_096, 4_097, SLAB_BLOCKS_MAX] {
            let slab = slab();
            fill_slab(&slab, blocks);
            let free: u32 = slab.words.iter().map(|word| word.load().count_ones()).sum();
            assert_eq!(free as usize, blocks);
            for (number, word) in slab.words.iter().enumerate() {
                let hinted = slab.summary[number / 64].load() >> (number % 64) & 1 == 1;
                assert_eq!(hinted, word.load() != 0, "{blocks} blocks, word {number}");
            }
        }
    }

    #[test]
    fn a_folder_that_is_no_bpffs_is_refused_with_the_remedy() {
        let error = make_folders(Path::new("/proc/self"))
            .expect_err("procfs")
            .to_string();
        assert!(
            error.starts_with("/proc/self is not on a BPF filesystem: run `mount"),
            "{error}"
        );
    }

    #[test]
    fn another_layout_is_refused_with_both_numbers() {
        let error = StartError::Layout {
            dir: "/x".into(),
            found: "7".into(),
        }
        .to_string();
        assert!(error.contains("layout 7") && error.contains(&format!("layout {LAYOUT}:")));
    }
}
