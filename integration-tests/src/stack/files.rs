//! Files that a killed `stack up` leaves whole.

use std::{
    fs, io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use std::io::Write;

/// Writes a file that only its owner reads, in one step.
pub fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().expect("files of the stack lie in folders");
    create_private_folder(folder)?;
    let name = path
        .file_name()
        .expect("a file has a name")
        .to_string_lossy();
    let fresh = folder.join(format!(".{name}.{}", std::process::id()));
    fs::remove_file(&fresh).ok();
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh)?;
    file.write_all(content)?;
    file.sync_all()?;
    adopt(&fresh, folder)?;
    fs::rename(&fresh, path)
}

/// Makes a folder that only its owner enters, if it is not there.
pub fn create_private_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent() {
        create_private_folder(above)?;
    }
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        made => made?,
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    adopt(path, path.parent().expect("a made folder has a parent"))
}

/// What root makes in the folder of an unprivileged user belongs to that user.
fn adopt(path: &Path, folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, chown};
    let owner = fs::metadata(folder)?;
    let own = fs::metadata(path)?;
    if rustix::process::geteuid().is_root() && (owner.uid(), owner.gid()) != (own.uid(), own.gid())
    {
        chown(path, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_file_is_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b.json");
        write_private(&path, b"one").unwrap();
        write_private(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::read_dir(folder.path().join("a")).unwrap().count(), 1);
    }
}
