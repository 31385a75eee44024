//! Is a port free, and who holds it if not.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

/// Whether a server could listen on 127.0.0.1 at this port. A port that may not be asked for (below 1024) counts as free: the engine
/// opens it with rights of its own.
pub fn is_free(port: u16) -> bool {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => true,
        Err(error) => error.kind() != io::ErrorKind::AddrInUse,
    }
}

/// The program that listens on a port, as `name (process 123)`; words that say so where it cannot be seen.
pub fn holder(port: u16) -> String {
    const UNSEEN: &str = "another program";
    #[cfg(target_os = "linux")]
    match linux::holder(port) {
        Some((name, process)) => return format!("{name} (process {process})"),
        None if linux::listens(port) => return format!("{UNSEEN} (of another user: root would see which)"),
        None => {}
    }
    UNSEEN.to_owned()
}

/// Sockets by `/proc/net/tcp`, their owners by the links in `/proc/*/fd`: see proc(5).
#[cfg(target_os = "linux")]
mod linux {
    use std::fs;

    /// State of a listening socket in `/proc/net/tcp`.
    const LISTEN: &str = "0A";

    pub(super) fn listens(port: u16) -> bool {
        !sockets(port).is_empty()
    }

    pub(super) fn holder(port: u16) -> Option<(String, u32)> {
        let links: Vec<_> = sockets(port).iter().map(|inode| format!("socket:[{inode}]")).collect();
        if links.is_empty() {
            return None;
        }
        fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
            let process: u32 = entry.file_name().to_str()?.parse().ok()?;
            let open = fs::read_dir(entry.path().join("fd")).ok()?;
            let owns = open
                .flatten()
                .filter_map(|descriptor| fs::read_link(descriptor.path()).ok())
                .any(|target| links.iter().any(|link| target.as_os_str() == link.as_str()));
            // Its name and not its command line, which may hold passwords.
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            owns.then(|| (name.trim().to_owned(), process))
        })
    }

    /// Inodes of the sockets that listen on a port.
    fn sockets(port: u16) -> Vec<String> {
        let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
        let suffix = format!(":{port:04X}");
        let rows = tables.iter().flat_map(|table| table.lines().skip(1));
        rows.filter_map(|row| {
            let columns: Vec<_> = row.split_whitespace().collect();
            let (local, state, inode) = (columns.get(1)?, columns.get(3)?, columns.get(9)?);
            (local.ends_with(&suffix) && *state == LISTEN).then(|| (*inode).to_owned())
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_held_names_its_holder() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(!is_free(port));
        #[cfg(target_os = "linux")]
        {
            let name = std::fs::read_to_string("/proc/self/comm").unwrap();
            assert_eq!(holder(port), format!("{} (process {})", name.trim(), std::process::id()));
        }
        drop(listener);
        assert!(is_free(port));
        assert_eq!(holder(port), "another program");
    }
}
