//! DVC's settings: INI files, of which a nearer one wins.

use std::path::{Path, PathBuf};

use crate::{Error, Result, write};

/// Which file a setting goes into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// `~/.config/dvc/config`, for all repositories of a user.
    User,
    /// `.dvc/config`, shared through git.
    Repository,
    /// `.dvc/config.local`, for this copy alone: the place of secrets.
    Local,
}

/// All files of settings.
#[derive(Clone, Debug)]
pub struct Config {
    files: Vec<(Level, File)>,
}

#[derive(Clone, Debug)]
struct File {
    path: PathBuf,
    lines: Vec<String>,
}

impl Config {
    /// Reads the files of a repository whose `.dvc` folder is given.
    pub fn load(folder: &Path) -> Result<Config> {
        let user = std::env::var_os("DVC_GLOBAL_CONFIG_DIR").map(PathBuf::from).or_else(|| {
            let home = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
            home.or_else(|| std::env::home_dir().map(|home| home.join(".config"))).map(|home| home.join("dvc"))
        });
        let mut files = Vec::new();
        let levels = [
            (Level::User, user.map(|folder| folder.join("config"))),
            (Level::Repository, Some(folder.join("config"))),
            (Level::Local, Some(folder.join("config.local"))),
        ];
        for (level, path) in levels {
            if let Some(path) = path {
                files.push((level, File::load(path)?));
            }
        }
        Ok(Config { files })
    }

    /// A setting, from the nearest file that has it.
    pub fn get(&self, section: &str, key: &str) -> Option<String> {
        self.get_with_file(section, key).map(|(value, _)| value)
    }

    /// A setting and the folder of the file that has it, which relative paths in it start from.
    pub(crate) fn get_with_file(&self, section: &str, key: &str) -> Option<(String, PathBuf)> {
        self.files.iter().rev().find_map(|(_, file)| {
            let folder = file.path.parent().unwrap_or(Path::new(".")).to_owned();
            file.get(section, key).map(|value| (value, folder))
        })
    }

    /// The names of the sections `['remote "name"']`, each once.
    pub fn remotes(&self) -> Vec<String> {
        let mut names = Vec::new();
        for (_, file) in &self.files {
            for line in &file.lines {
                let name = section_of(line)
                    .and_then(|name| name.strip_prefix("remote \"")?.strip_suffix('"').map(str::to_owned));
                names.extend(name.filter(|name| !names.contains(name)));
            }
        }
        names
    }

    /// Sets a setting and writes its file; other lines stay as they are.
    pub fn set(&mut self, level: Level, section: &str, key: &str, value: &str) -> Result<()> {
        self.change(level, |file| file.set(section, key, value))
    }

    /// Removes a setting, or a whole section, and writes the file. False where there was none.
    pub fn remove(&mut self, level: Level, section: &str, key: Option<&str>) -> Result<bool> {
        let mut removed = false;
        self.change(level, |file| removed = file.remove(section, key))?;
        Ok(removed)
    }

    fn change(&mut self, level: Level, work: impl FnOnce(&mut File)) -> Result<()> {
        let Some((_, file)) = self.files.iter_mut().find(|(other, _)| *other == level) else { return Ok(()) };
        work(file);
        write::make_folder(file.path.parent().unwrap_or(Path::new(".")))?;
        write::write(&file.path, file.lines.concat().as_bytes())?;
        // Secrets are for the owner alone.
        if level == Level::Local {
            crate::link::set_mode(&file.path, 0o600).map_err(Error::io("protect", &file.path))?;
        }
        Ok(())
    }
}

impl File {
    fn load(path: PathBuf) -> Result<File> {
        let text = write::read_if_any(&path)?.unwrap_or_default();
        for (index, line) in text.lines().enumerate() {
            let plain = line.trim();
            if !plain.is_empty() && !plain.starts_with(['#', ';']) && section_of(line).is_none() && !line.contains('=')
            {
                return Err(Error::Malformed {
                    path,
                    line: Some(index + 1),
                    message: format!("`{plain}` is neither [section] nor key = value"),
                    hint: "mend the line; the form is that of `dvc config`",
                });
            }
        }
        Ok(File { path, lines: text.split_inclusive('\n').map(str::to_owned).collect() })
    }

    /// The lines of a section, its heading left out.
    fn section(&self, section: &str) -> Option<std::ops::Range<usize>> {
        let is_it = |line: &String| section_of(line).is_some_and(|name| name.eq_ignore_ascii_case(section));
        let start = self.lines.iter().position(is_it)? + 1;
        let length = self.lines[start..].iter().position(|line| section_of(line).is_some());
        Some(start..length.map_or(self.lines.len(), |length| start + length))
    }

    fn line(&self, section: &str, key: &str) -> Option<usize> {
        self.section(section)?.find(|&index| {
            let line = self.lines[index].trim();
            !line.starts_with(['#', ';']) && line.split_once('=').is_some_and(|(name, _)| name.trim() == key)
        })
    }

    fn get(&self, section: &str, key: &str) -> Option<String> {
        let (_, value) = self.lines[self.line(section, key)?].split_once('=')?;
        let value = value.trim();
        for quote in ["\"\"\"", "'''", "\"", "'"] {
            if let Some(value) = value.strip_prefix(quote).and_then(|value| value.split(quote).next()) {
                return Some(value.to_owned());
            }
        }
        Some(value.split(" #").next().unwrap_or(value).trim_end().to_owned())
    }

    fn set(&mut self, section: &str, key: &str, value: &str) {
        let needs_quotes = value.is_empty() || value != value.trim() || value.contains(['#', ',', '"', '\'']);
        let value = match (needs_quotes, value.contains('"')) {
            (false, _) => value.to_owned(),
            (true, false) => format!("\"{value}\""),
            (true, true) => format!("'{value}'"),
        };
        let line = format!("    {key} = {value}\n");
        if let Some(index) = self.line(section, key) {
            self.lines[index] = line;
            return;
        }
        if let Some(last) = self.lines.last_mut().filter(|last| !last.ends_with('\n')) {
            last.push('\n');
        }
        match self.section(section) {
            Some(range) => self.lines.insert(range.end, line),
            None => {
                let heading = if section.contains('"') { format!("['{section}']\n") } else { format!("[{section}]\n") };
                // DVC writes its own settings before the remotes.
                let at = if section == "core" { 0 } else { self.lines.len() };
                self.lines.splice(at..at, [heading, line]);
            }
        }
    }

    fn remove(&mut self, section: &str, key: Option<&str>) -> bool {
        let range = match key {
            Some(key) => self.line(section, key).map(|index| index..index + 1),
            None => self.section(section).map(|range| range.start - 1..range.end),
        };
        let found = range.is_some();
        if let Some(range) = range {
            self.lines.drain(range);
        }
        // A heading with nothing below it goes too, as DVC leaves none.
        if let Some(range) = self.section(section).filter(|range| range.is_empty()) {
            self.lines.remove(range.start - 1);
        }
        found
    }
}

/// The name between the brackets of a heading, quotes taken off.
fn section_of(line: &str) -> Option<&str> {
    let name = line.trim().strip_prefix('[')?.split(']').next()?.trim();
    Some(name.strip_prefix('\'').and_then(|name| name.strip_suffix('\'')).unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_written_as_dvc_writes_them() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::load(folder.path()).unwrap();
        config.set(Level::Repository, "remote \"store\"", "url", "s3://bucket/prefix").unwrap();
        config.set(Level::Repository, "core", "remote", "store").unwrap();
        let path = folder.path().join("config");
        let expected = "[core]\n    remote = store\n['remote \"store\"']\n    url = s3://bucket/prefix\n";
        assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
        assert_eq!(Config::load(folder.path()).unwrap().remotes(), ["store"]);
        assert!(config.remove(Level::Repository, "remote \"store\"", None).unwrap());
        assert!(config.remove(Level::Repository, "core", Some("remote")).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
        std::fs::write(&path, "[core]\nremote\n").unwrap();
        let error = Config::load(folder.path()).unwrap_err().to_string();
        assert!(error.contains("line 2: `remote` is neither [section] nor key = value"), "{error}");
    }
}
