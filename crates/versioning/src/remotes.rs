//! The list of remotes in the settings.

use std::path::Path;

use crate::config::Level;
use crate::{Error, Repository, Result};

/// Settings that must not reach git.
const SECRETS: [&str; 4] = ["access_key_id", "secret_access_key", "session_token", "password"];

impl Repository {
    /// Adds a remote. A relative path counts from the working folder and is kept relative to the settings file.
    pub fn add_remote(&mut self, level: Level, name: &str, url: &str, is_default: bool, force: bool) -> Result<()> {
        let section = section(name);
        if self.config.get(&section, "url").is_some() && !force {
            let hint = "`yolo11 data remote modify` changes it, `--force` replaces it";
            return Err(Error::refused(format!("there is a remote `{name}` already"), hint));
        }
        if name.is_empty() || name.contains(['"', '\'', ']', '\n']) {
            return Err(Error::refused(format!("`{name}` is no name for a remote"), "use letters, digits, - and _"));
        }
        let url = self.kept_url(url)?;
        self.config.set(level, &section, "url", &url)?;
        if is_default {
            self.config.set(level, "core", "remote", name)?;
        }
        Ok(())
    }

    /// Sets a setting of a remote, or removes it where there is no value. Secrets go into config.local only.
    pub fn modify_remote(&mut self, level: Level, name: &str, key: &str, value: Option<&str>) -> Result<()> {
        let section = self.known(name)?;
        if SECRETS.contains(&key) && level == Level::Repository && value.is_some() {
            let hint = format!("`yolo11 data remote modify --local {name} {key} …` keeps it out of git");
            return Err(Error::refused(format!("{key} is a secret, and .dvc/config goes into git"), hint));
        }
        match value {
            Some(value) if key == "url" => {
                let url = self.kept_url(value)?;
                self.config.set(level, &section, key, &url)
            }
            Some(value) => self.config.set(level, &section, key, value),
            None => self.config.remove(level, &section, Some(key)).map(|_| ()),
        }
    }

    /// Removes a remote from a file of settings, and as the default. Nothing on the remote is touched.
    pub fn remove_remote(&mut self, level: Level, name: &str) -> Result<()> {
        let section = self.known(name)?;
        self.config.remove(level, &section, None)?;
        if self.config.get("core", "remote").as_deref() == Some(name) {
            self.config.remove(level, "core", Some("remote"))?;
        }
        Ok(())
    }

    /// Makes a remote the one that push, fetch and pull take.
    pub fn set_default_remote(&mut self, level: Level, name: &str) -> Result<()> {
        self.known(name)?;
        self.config.set(level, "core", "remote", name)
    }

    /// Names and addresses of the remotes.
    pub fn remotes(&self) -> Vec<(String, String)> {
        let names = self.config.remotes().into_iter();
        names.map(|name| (name.clone(), self.config.get(&section(&name), "url").unwrap_or_default())).collect()
    }

    fn known(&self, name: &str) -> Result<String> {
        let names = self.config.remotes();
        if names.iter().any(|known| known == name) {
            return Ok(section(name));
        }
        let hint =
            if names.is_empty() { "there are none yet".to_owned() } else { format!("there are: {}", names.join(", ")) };
        Err(Error::refused(format!("no remote `{name}`"), hint))
    }

    fn kept_url(&self, url: &str) -> Result<String> {
        if url.contains("://") || Path::new(url).is_absolute() {
            return Ok(url.to_owned());
        }
        let path = std::path::absolute(url).map_err(Error::io("find", Path::new(url)))?;
        let path = crate::repository::clean(&path);
        let dvc = self.root().join(".dvc");
        let shared = dvc.components().zip(path.components()).take_while(|(a, b)| a == b).count();
        let mut parts = vec!["..".to_owned(); dvc.components().count() - shared];
        parts.extend(path.components().skip(shared).map(|part| part.as_os_str().to_string_lossy().into_owned()));
        Ok(parts.join("/"))
    }
}

fn section(name: &str) -> String {
    format!("remote \"{name}\"")
}
