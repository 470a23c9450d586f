//! Free ports without a race: each test has a /24 of loopback addresses and a folder that no other
//! running test has, in this process or another. So etcd has its 2379 and API servers their 6443.
//!
//! A reservation is a lock on a file. The kernel drops it with the process, however that ends, and
//! the next test that takes the number removes what was left in its folder.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::net::Ipv4Addr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::{env, io, thread};

/// A block of addresses and a folder, reserved while this exists.
#[derive(Debug)]
pub(crate) struct Block {
    number: u8,
    folder: PathBuf,
    /// Held for its lock.
    _lock: File,
}

impl Block {
    /// Takes the first block that no other test has.
    pub(crate) fn reserve() -> io::Result<Self> {
        let base = base_folder()?;
        for number in 0..=u8::MAX {
            let lock = File::create(base.join(format!("{number}.lock")))?;
            match lock.try_lock() {
                Ok(()) => return Self::clean(&base, number, lock),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Err(io::Error::other(format!(
            "all 256 blocks of {} are taken",
            base.display()
        )))
    }

    fn clean(base: &Path, number: u8, lock: File) -> io::Result<Self> {
        let folder = base.join(number.to_string());
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        DirBuilder::new().mode(0o700).create(&folder)?;
        Ok(Self {
            number,
            folder,
            _lock: lock,
        })
    }

    /// The block's address with this last byte.
    pub(crate) fn address(&self, last: u8) -> Ipv4Addr {
        // Users cannot see each other's locks, so they get different ranges.
        let user = u8::try_from(rustix::process::getuid().as_raw() % 128).expect("less than 128");
        Ipv4Addr::new(127, 64 + user, self.number, last)
    }

    /// The block's folder, empty at first.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next test with this number.
        if env::var_os("TESTS_KEEP").is_none() {
            let _ = fs::remove_dir_all(&self.folder);
            return;
        }
        let test = thread::current()
            .name()
            .unwrap_or("unnamed")
            .replace("::", ".");
        let kept = self.folder.with_file_name(format!("kept-{test}"));
        let _ = fs::remove_dir_all(&kept);
        let _ = fs::rename(&self.folder, &kept);
        eprintln!("kept {}", kept.display());
    }
}

/// The folder of all blocks, this user's alone.
fn base_folder() -> io::Result<PathBuf> {
    let user = rustix::process::getuid().as_raw();
    let base = env::temp_dir().join(format!("node-dataplane-tests-{user}"));
    match DirBuilder::new().mode(0o700).create(&base) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // /tmp is everybody's: somebody else may have made it, or a link, to have us remove things.
    let found = fs::symlink_metadata(&base)?;
    if !found.is_dir() || found.uid() != user {
        return Err(io::Error::other(format!(
            "{} is not a folder of ours",
            base.display()
        )));
    }
    Ok(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_blocks_share_neither_address_nor_folder() {
        let (one, other) = (Block::reserve().unwrap(), Block::reserve().unwrap());
        assert_ne!(one.address(1), other.address(1));
        assert_ne!(one.folder(), other.folder());
    }

    #[test]
    fn a_folder_goes_with_its_block() {
        let block = Block::reserve().unwrap();
        let folder = block.folder().to_owned();
        fs::write(folder.join("file"), "left behind").unwrap();
        drop(block);
        assert!(!folder.join("file").exists());
    }
}
