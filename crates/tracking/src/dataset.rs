//! A data set as a run's input: its name, a digest of its content, where it lies.

use std::path::{Path, PathBuf};

use md5::{Digest, Md5};
use serde_json::json;

use crate::record::{DatasetInput, cut};
use crate::upload::hexadecimal;

/// What a run's data set is known by.
#[derive(Clone, Debug)]
pub struct DatasetFacts {
    /// Its file.
    pub file: PathBuf,
    /// Every picture and label file that is used.
    pub files: Vec<PathBuf>,
    /// Names of the classes.
    pub names: Vec<String>,
    /// Figures for readers, such as the number of pictures.
    pub profile: serde_json::Value,
    /// `training` or `validation`.
    pub context: String,
}

/// The input that a run logs. The digest is DVC's where a `.dvc` file stands beside the data's folder or file, otherwise the MD5 of the
/// sorted list of relative paths and sizes.
pub fn input(facts: &DatasetFacts) -> DatasetInput {
    let file = std::path::absolute(&facts.file).unwrap_or_else(|_| facts.file.clone());
    let folder = file.parent().unwrap_or(Path::new("/")).to_owned();
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let generic = matches!(stem.as_str(), "dataset" | "data");
    let folder_name = folder.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = folder_name.filter(|_| generic).unwrap_or(stem);
    let dvc = [&file, &folder].iter().find_map(|path| dvc_digest(path));
    let (source_type, digest) = match dvc {
        Some(digest) => ("dvc", digest),
        None => ("local", content_digest(&folder, &facts.files)),
    };
    DatasetInput {
        name: cut(&name, 500),
        digest: cut(&digest, 36),
        source_type: source_type.to_owned(),
        source: json!({"uri": file.display().to_string()}).to_string(),
        schema: json!({"classes": facts.names}).to_string(),
        profile: facts.profile.to_string(),
        context: facts.context.clone(),
    }
}

/// MD5 of `path<TAB>size` lines, sorted; paths are relative to `folder` where they lie in it.
pub fn content_digest(folder: &Path, files: &[PathBuf]) -> String {
    let mut lines: Vec<String> = files
        .iter()
        .map(|file| {
            let absolute = std::path::absolute(file).unwrap_or_else(|_| file.clone());
            let relative = absolute.strip_prefix(folder).unwrap_or(&absolute);
            let size = std::fs::metadata(&absolute).map_or(-1, |metadata| metadata.len() as i64);
            format!("{}\t{size}\n", relative.to_string_lossy().replace('\\', "/"))
        })
        .collect();
    lines.sort_unstable();
    let mut hash = Md5::new();
    lines.iter().for_each(|line| hash.update(line.as_bytes()));
    hexadecimal(&hash.finalize())
}

/// The digest in `<path>.dvc`.
fn dvc_digest(path: &Path) -> Option<String> {
    let mut name = path.as_os_str().to_owned();
    name.push(".dvc");
    let text = std::fs::read_to_string(name).ok()?;
    let digest = text.lines().find_map(|line| line.trim().trim_start_matches("- ").strip_prefix("md5:"))?;
    Some(digest.trim().to_owned()).filter(|digest| !digest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_digest_follows_names_and_sizes_and_dvc_wins() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("cells");
        fs::create_dir_all(&data).unwrap();
        for (name, text) in [("a.jpg", "12345"), ("b.jpg", "1"), ("dataset.yaml", "names: [x]")] {
            fs::write(data.join(name), text).unwrap();
        }
        let facts = |order: [&str; 2]| DatasetFacts {
            file: data.join("dataset.yaml"),
            files: order.map(|name| data.join(name)).to_vec(),
            names: vec!["x".into()],
            profile: json!({"pictures": 2}),
            context: "training".into(),
        };
        let first = input(&facts(["a.jpg", "b.jpg"]));
        // md5sum of "a.jpg\t5\nb.jpg\t1\n".
        assert_eq!((first.name.as_str(), first.digest.as_str()), ("cells", "6f9bddbb4d10cc1df1fcaa0b79461989"));
        assert_eq!(input(&facts(["b.jpg", "a.jpg"])), first);
        fs::write(data.join("b.jpg"), "12").unwrap();
        assert_ne!(input(&facts(["a.jpg", "b.jpg"])).digest, first.digest);
        let digest = "0123456789abcdef0123456789abcdef.dir";
        fs::write(folder.path().join("cells.dvc"), format!("outs:\n- md5: {digest}\n  size: 6\n  path: cells\n"))
            .unwrap();
        let dvc = input(&facts(["a.jpg", "b.jpg"]));
        assert_eq!((dvc.digest.as_str(), dvc.source_type.as_str()), (digest, "dvc"));
    }
}
