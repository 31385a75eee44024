//! The compose file of a project.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::env_file::replace;
use crate::{Error, Event};

/// The file as this version lays it down.
pub const TEXT: &str = include_str!("../../templates/compose.yaml");

/// Where it lies below a project's folder: not at its top, where a compose file of the project's own may stand.
pub const PLACE: &str = "services/compose.yaml";

/// Its path in a project.
pub fn path(root: &Path) -> PathBuf {
    root.join(PLACE)
}

/// Lays the file down if there is none; one that was changed stays as it is.
pub(crate) fn lay_down(root: &Path, announce: &mut dyn FnMut(Event)) -> Result<(), Error> {
    let path = path(root);
    let failed = |source: io::Error| Error::File { path: path.clone(), source };
    match fs::read_to_string(&path) {
        Ok(text) if text == TEXT => {}
        Ok(_) => announce(Event::Kept(PLACE.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder).map_err(failed)?;
            }
            replace(&path, TEXT).and_then(|()| make_readable(&path)).map_err(failed)?;
            announce(Event::Wrote(PLACE.into()));
        }
        Err(error) => return Err(failed(error)),
    }
    Ok(())
}

/// There is no secret in it, and the engine may run as another user.
fn make_readable(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o644))?;
    }
    let _ = path;
    Ok(())
}
