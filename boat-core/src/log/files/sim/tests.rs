use super::super::{is_full, read_file, write_file_atomically};
use super::*;

fn disk() -> SimFiles {
    let disk = SimFiles::new();
    disk.create_directory(Path::new("d")).unwrap();
    disk
}

fn path() -> &'static Path {
    Path::new("d/x")
}

#[test]
fn what_was_synced_survives_and_the_rest_is_a_mix() {
    let (mut kept, mut lost, mut torn) = (0, 0, 0);
    for seed in 0..100 {
        let disk = disk();
        let file = disk.create(path()).unwrap();
        file.write_at(&[1; 4096], 0).unwrap();
        file.sync_data().unwrap();
        disk.sync_directory(Path::new("d")).unwrap();
        file.write_at(&[2; 4096], 4096).unwrap();
        disk.crash(seed);
        assert!(file.write_at(b"x", 0).is_err(), "an old handle is closed");
        let bytes = disk.contents(path()).unwrap();
        assert_eq!(bytes[..4096], [1; 4096]);
        let twos = bytes[4096..].iter().filter(|byte| **byte == 2).count();
        assert!(bytes[4096..].iter().all(|byte| *byte == 0 || *byte == 2));
        match twos {
            0 => lost += 1,
            4096 => kept += 1,
            _ => torn += 1,
        }
    }
    assert!(kept > 10 && lost > 10 && torn > 10, "{kept} {lost} {torn}");
}

#[test]
fn a_crash_is_the_same_for_the_same_seed() {
    let run = |seed| {
        let disk = disk();
        for name in ["d/a", "d/b", "d/c"] {
            disk.create(Path::new(name)).unwrap().write_at(&[3; 9000], 0).unwrap();
        }
        disk.crash(seed);
        ["d/a", "d/b", "d/c"].map(|name| disk.contents(Path::new(name)))
    };
    assert_eq!(run(5), run(5));
    assert!((0..20).any(|seed| run(seed) != run(5)));
}

#[test]
fn a_name_is_durable_once_its_directory_was_synced() {
    let mut seen = BTreeSet::new();
    for seed in 0..50 {
        let disk = disk();
        write_file_atomically(&disk, path(), b"old").unwrap();
        disk.fail(CallKind::SyncDirectory, 0, Fault::StopBefore);
        assert!(write_file_atomically(&disk, path(), b"new").is_err());
        disk.crash(seed);
        seen.insert(read_file(&disk, path(), 10).unwrap());
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [b"new".to_vec(), b"old".to_vec()]);
}

#[test]
fn an_atomic_write_that_fails_anywhere_leaves_old_or_new() {
    for kind in CallKind::ALL {
        for fault in [Fault::Error, Fault::Short, Fault::Full, Fault::StopBefore, Fault::StopAfter] {
            let disk = disk();
            write_file_atomically(&disk, path(), b"old").unwrap();
            disk.fail(kind, 0, fault);
            let result = write_file_atomically(&disk, path(), b"new");
            let struck = disk.has_failed();
            disk.crash(9);
            let found = read_file(&disk, path(), 10).unwrap();
            assert!(found == b"new" || (found == b"old" && result.is_err()), "{kind:?} {fault:?} {found:?}");
            assert!(result.is_ok() || struck);
        }
    }
}

#[test]
fn a_full_disk_takes_no_more_but_overwrites() {
    let disk = disk();
    disk.set_bytes_max(Some(10));
    let file = disk.create(path()).unwrap();
    file.allocate(0, 10).unwrap();
    assert_eq!(disk.free_bytes(Path::new("d")).unwrap(), 0);
    file.write_at(b"0123456789", 0).unwrap();
    assert!(is_full(&file.write_at(b"ab", 9).unwrap_err()));
    disk.set_bytes_max(None);
    file.write_at(b"ab", 9).unwrap();
}

#[test]
fn a_directory_moves_with_what_it_holds() {
    let disk = disk();
    disk.create(path()).unwrap().write_at(b"x", 0).unwrap();
    disk.rename(Path::new("d"), Path::new("e")).unwrap();
    assert_eq!(disk.list(Path::new("d")).unwrap_err().kind(), io::ErrorKind::NotFound);
    assert_eq!(disk.list(Path::new("e")).unwrap(), ["x"]);
    disk.kill();
    assert_eq!(disk.contents(Path::new("e/x")).unwrap(), b"x");
}

#[test]
fn a_file_whose_removal_a_crash_undoes_can_be_opened() {
    let mut is_back = false;
    for seed in 0..20 {
        let disk = disk();
        disk.create(path()).unwrap();
        disk.remove(path()).unwrap();
        disk.kill();
        disk.crash(seed);
        for name in disk.list(Path::new("d")).unwrap() {
            is_back = true;
            assert_eq!(disk.open(&Path::new("d").join(name)).unwrap().len().unwrap(), 0);
        }
    }
    assert!(is_back);
}

#[test]
fn what_was_written_back_outlives_a_loss_of_power() {
    for seed in 0..20 {
        let disk = disk();
        let file = disk.create(path()).unwrap();
        file.write_at(b"old", 0).unwrap();
        file.sync_data().unwrap();
        file.write_at(b"new", 0).unwrap();
        disk.kill();
        disk.write_back();
        disk.crash(seed);
        assert_eq!(disk.contents(path()).as_deref(), Some(&b"new"[..]));
    }
}
