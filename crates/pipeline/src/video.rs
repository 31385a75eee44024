//! Videos and camera streams, read and written by ffmpeg where that is installed: a child process, frames over a pipe.

use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;

use yolo11_dataset::Picture;

use crate::Error;

/// Endings of files that are read as videos.
pub const ENDINGS: [&str; 13] =
    ["mp4", "m4v", "mov", "avi", "mkv", "webm", "mpg", "mpeg", "ts", "wmv", "flv", "ogv", "gif"];
/// Beginnings of addresses that are read as streams.
const SCHEMES: [&str; 8] = ["rtsp://", "rtsps://", "rtmp://", "http://", "https://", "tcp://", "udp://", "srt://"];
/// Frames that wait between ffmpeg and the network.
const AHEAD: usize = 16;
/// Sides of a frame beyond which its header is damaged.
const MOST_SIDE: usize = 32_768;
/// Frames a second of a result video, where the source does not tell.
const RATE: f64 = 25.0;

/// A video file, a camera or a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Video {
    /// As the user wrote it; with a password in it, what stands before the `@` is left out.
    pub name: String,
    input: String,
    /// Comes as it happens: frames that are not looked at in time are passed over.
    pub live: bool,
}

impl Video {
    /// What `source=` names, where that is a video: a file by its ending, an address, a camera by number or device.
    pub fn parse(source: &str) -> Option<Video> {
        let lower = source.to_ascii_lowercase();
        let video = |input: String, live| Some(Video { name: without_password(source), input, live });
        if !source.is_empty() && source.len() <= 3 && source.bytes().all(|digit| digit.is_ascii_digit()) {
            return video(camera(source), true);
        }
        if lower.starts_with("/dev/video") {
            return video(source.to_owned(), true);
        }
        if SCHEMES.iter().any(|scheme| lower.starts_with(scheme)) {
            // An address that ends like a file is one, and waits for its reader.
            return video(source.to_owned(), !has_ending(&lower));
        }
        if has_ending(&lower) { video(source.to_owned(), false) } else { None }
    }

    /// Its name without folders, ending and letters that files cannot have.
    pub fn stem(&self) -> String {
        let path = self.name.split(['?', '#']).next().unwrap_or_default();
        let last = path.trim_end_matches('/').rsplit(['/', '\\']).next().unwrap_or_default();
        let stem = last.rsplit_once('.').map_or(last, |(stem, _)| stem);
        let safe: String = stem
            .chars()
            .map(|letter| if letter.is_alphanumeric() || "-_ ".contains(letter) { letter } else { '_' })
            .collect();
        if self.input == self.name && !safe.is_empty() { safe } else { format!("camera{safe}") }
    }

    /// Options that ffmpeg needs before the input.
    fn options(&self) -> Vec<&str> {
        let lower = self.input.to_ascii_lowercase();
        if lower.starts_with("/dev/video") {
            vec!["-f", "v4l2"]
        } else if lower.starts_with("rtsp") {
            vec!["-rtsp_transport", "tcp"]
        } else if cfg!(target_os = "macos") && self.input.bytes().all(|digit| digit.is_ascii_digit()) {
            vec!["-f", "avfoundation"]
        } else {
            Vec::new()
        }
    }
}

fn has_ending(source: &str) -> bool {
    source.rsplit_once('.').is_some_and(|(_, ending)| ENDINGS.contains(&ending))
}

/// The device of a camera by its number.
fn camera(number: &str) -> String {
    if cfg!(target_os = "macos") { number.to_owned() } else { format!("/dev/video{number}") }
}

/// `rtsp://user:secret@host/1` as `rtsp://***@host/1`.
fn without_password(source: &str) -> String {
    let Some((scheme, rest)) = source.split_once("://") else { return source.to_owned() };
    let authority = rest.split('/').next().unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((user, _)) => format!("{scheme}://***{}", &rest[user.len()..]),
        None => source.to_owned(),
    }
}

/// One frame.
pub struct Frame {
    /// Its number in the video, from 0; those that are passed over count.
    pub number: usize,
    /// Its pixels.
    pub picture: Picture,
}

/// Reads the frames of a video.
pub struct Frames {
    video: Video,
    child: Child,
    frames: Option<Receiver<io::Result<Frame>>>,
    reader: Option<JoinHandle<()>>,
    waiting: Option<io::Result<Frame>>,
    seen: usize,
    /// Frames a second.
    pub rate: f64,
}

impl Frames {
    /// Starts ffmpeg on a video; every `stride`th frame is given.
    ///
    /// # Errors
    /// ffmpeg is not installed or does not start.
    pub fn open(video: &Video, stride: usize) -> Result<Frames, Error> {
        let rate = rate(video);
        let mut command = ffmpeg();
        command.args(["-nostdin", "-hide_banner", "-loglevel", "error"]).args(video.options());
        command.args(["-i", &video.input, "-an", "-sn", "-f", "image2pipe", "-c:v", "ppm", "pipe:1"]);
        let mut child = start(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()))?;
        // A live source gives the newest frame; what a file holds waits its turn.
        let (sender, frames) = sync_channel(if video.live { 1 } else { AHEAD });
        let (live, stride) = (video.live, stride.max(1));
        let reader = child.stdout.take().map(|out| std::thread::spawn(move || read_all(out, stride, live, &sender)));
        Ok(Frames { video: video.clone(), child, frames: Some(frames), reader, waiting: None, seen: 0, rate })
    }

    /// Up to `most` frames: as many as there are now, at least one; none at the end.
    ///
    /// # Errors
    /// The video cannot be read: ffmpeg's own words.
    pub fn next(&mut self, most: usize) -> Result<Vec<Frame>, Error> {
        let mut group = Vec::new();
        while group.len() < most {
            let next = match (self.waiting.take(), &self.frames) {
                (Some(next), _) => Some(next),
                (None, None) => None,
                (None, Some(frames)) if group.is_empty() || !self.video.live => frames.recv().ok(),
                (None, Some(frames)) => match frames.try_recv() {
                    Ok(frame) => Some(frame),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => None,
                },
            };
            match next {
                Some(Ok(frame)) => group.push(frame),
                Some(Err(error)) if group.is_empty() => return Err(self.failed(&error.to_string())),
                Some(Err(error)) => {
                    self.waiting = Some(Err(error));
                    break;
                }
                None => break,
            }
        }
        self.seen += group.len();
        if group.is_empty() {
            self.finish()?;
        }
        Ok(group)
    }

    /// The end: ffmpeg says whether it was the video's own. One that ends early after some frames is one that ends.
    fn finish(&mut self) -> Result<(), Error> {
        if self.seen > 0 {
            return Ok(());
        }
        let mut said = String::new();
        if let Some(errors) = self.child.stderr.take() {
            let _ = errors.take(64 << 10).read_to_string(&mut said);
        }
        let _ = self.child.wait();
        let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it holds no picture").to_owned();
        Err(self.failed(&last.replace(&self.video.input, &self.video.name)))
    }

    fn failed(&self, reason: &str) -> Error {
        Error::Video { name: self.video.name.clone(), reason: reason.to_owned() }
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        // First the receiver, so that the reader's thread is free to end.
        self.frames = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// Reads frames until the end, an error, or until nobody wants more.
fn read_all(out: ChildStdout, stride: usize, live: bool, sender: &SyncSender<io::Result<Frame>>) {
    let mut out = BufReader::with_capacity(1 << 20, out);
    let mut number = 0;
    loop {
        let picture = match read_frame(&mut out) {
            Ok(Some(picture)) => picture,
            Ok(None) => return,
            Err(error) => {
                let _ = sender.send(Err(error));
                return;
            }
        };
        if number % stride == 0 {
            let frame = Ok(Frame { number, picture });
            let gone = if live {
                matches!(sender.try_send(frame), Err(std::sync::mpsc::TrySendError::Disconnected(_)))
            } else {
                sender.send(frame).is_err()
            };
            if gone {
                return;
            }
        }
        number += 1;
    }
}

/// One picture in PPM: `P6`, width, height, 255, then RGB bytes. A frame that is cut off by the end is none.
fn read_frame(from: &mut impl Read) -> io::Result<Option<Picture>> {
    let mut number = |first: bool| -> io::Result<Option<String>> {
        let mut word = String::new();
        loop {
            let mut byte = [0u8];
            if from.read(&mut byte)? == 0 {
                return if first && word.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
            match byte[0] {
                b' ' | b'\n' if word.is_empty() => {}
                b' ' | b'\n' => return Ok(Some(word)),
                letter if word.len() < 8 => word.push(letter.into()),
                _ => return Err(io::Error::other("ffmpeg's frames have no header")),
            }
        }
    };
    let ended = |result: io::Result<Option<String>>| match result {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        other => other,
    };
    let mut header = Vec::new();
    for place in 0..4 {
        match ended(number(place == 0))? {
            Some(word) => header.push(word),
            None => return Ok(None),
        }
    }
    let side = |word: &str| word.parse::<usize>().ok().filter(|side| (1..=MOST_SIDE).contains(side));
    let (Some(width), Some(height), "P6", "255") =
        (side(&header[1]), side(&header[2]), header[0].as_str(), header[3].as_str())
    else {
        return Err(io::Error::other("ffmpeg's frames have no header"));
    };
    let mut pixels = vec![0; width * height * 3];
    match from.read_exact(&mut pixels) {
        Ok(()) => Ok(Some(Picture { height, width, pixels })),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// Frames a second, as ffprobe says.
fn rate(video: &Video) -> f64 {
    if video.live {
        return RATE;
    }
    let mut command = Command::new(program("ffprobe"));
    command.args(["-v", "error", "-select_streams", "v:0", "-show_entries", "stream=avg_frame_rate", "-of", "csv=p=0"]);
    let output = command.arg(&video.input).stdin(Stdio::null()).stderr(Stdio::null()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let (above, below) = text.trim().trim_end_matches(',').split_once('/').unwrap_or_default();
    let rate = above.parse::<f64>().unwrap_or(0.0) / below.parse::<f64>().unwrap_or(0.0);
    if rate.is_finite() && rate > 0.0 { rate } else { RATE }
}

/// `YOLO11_FFMPEG` names another ffmpeg; ffprobe lies beside it.
fn program(name: &str) -> PathBuf {
    match std::env::var_os("YOLO11_FFMPEG").filter(|path| !path.is_empty()) {
        Some(path) if name == "ffmpeg" => path.into(),
        Some(path) => Path::new(&path).with_file_name(name),
        None => name.into(),
    }
}

/// ffmpeg in a process group of its own: Ctrl-C is ours to hear, so that a result video is ended well.
fn ffmpeg() -> Command {
    let mut command = Command::new(program("ffmpeg"));
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command
}

/// The version of the ffmpeg that would be used.
///
/// # Errors
/// It is not installed, or does not start.
pub(crate) fn ffmpeg_version() -> Result<String, Error> {
    let mut command = ffmpeg();
    command.arg("-version").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let output = start(&mut command)?.wait_with_output();
    let said = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let version = said.strip_prefix("ffmpeg version ").and_then(|rest| rest.split_whitespace().next());
    version.map(str::to_owned).ok_or_else(|| Error::Setup {
        message: format!("`{}` does not tell its version: it is no ffmpeg", program("ffmpeg").display()),
        hint: "name another in YOLO11_FFMPEG".into(),
    })
}

fn start(command: &mut Command) -> Result<Child, Error> {
    command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::Setup {
            message: format!("videos and cameras need ffmpeg, and `{}` is not installed", program("ffmpeg").display()),
            hint: "install it (apt install ffmpeg, brew install ffmpeg), or name it in YOLO11_FFMPEG".into(),
        },
        _ => Error::Setup { message: format!("ffmpeg does not start: {error}"), hint: "try `ffmpeg -version`".into() },
    })
}

/// Writes frames as an MP4 file, under a temporary name until it is whole.
pub struct VideoWriter {
    child: Child,
    input: Option<BufWriter<ChildStdin>>,
    path: PathBuf,
    temporary: PathBuf,
    size: [usize; 2],
}

impl VideoWriter {
    /// A file of frames of `[height, width]`, `rate` a second.
    ///
    /// # Errors
    /// ffmpeg does not start.
    pub fn create(path: &Path, [height, width]: [usize; 2], rate: f64) -> Result<VideoWriter, Error> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let temporary = path.with_file_name(format!(".{name}.part"));
        let mut command = ffmpeg();
        command.args(["-nostdin", "-hide_banner", "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24"]);
        command.args(["-s", &format!("{width}x{height}"), "-r", &format!("{rate:.6}"), "-i", "pipe:0", "-an"]);
        // Colours at half the size need even sides.
        command.args(["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p", "-c:v", encoder(), "-f", "mp4"]);
        command.arg(&temporary).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = start(&mut command)?;
        let input = child.stdin.take().map(|input| BufWriter::with_capacity(1 << 20, input));
        Ok(VideoWriter { child, input, path: path.to_owned(), temporary, size: [height, width] })
    }

    /// Adds a frame; one of another size than the first is passed over.
    ///
    /// # Errors
    /// ffmpeg cannot write.
    pub fn add(&mut self, frame: &Picture) -> Result<(), Error> {
        if frame.size() != self.size {
            return Ok(());
        }
        let written = self.input.as_mut().map_or(Ok(()), |input| input.write_all(&frame.pixels));
        written.map_err(|error| self.failed(error))
    }

    /// Ends the file and gives it its name.
    ///
    /// # Errors
    /// ffmpeg cannot write.
    pub fn finish(mut self) -> Result<PathBuf, Error> {
        let flushed = self.input.take().map_or(Ok(()), |mut input| input.flush());
        let ended = flushed.and_then(|()| self.child.wait()).map_err(|error| self.failed(error))?;
        if !ended.success() {
            return Err(self.failed(io::Error::other("ffmpeg failed")));
        }
        std::fs::rename(&self.temporary, &self.path).map_err(|error| self.failed(error))?;
        Ok(self.path.clone())
    }

    fn failed(&mut self, error: io::Error) -> Error {
        self.input = None;
        let mut said = String::new();
        if let Some(errors) = self.child.stderr.take() {
            let _ = errors.take(64 << 10).read_to_string(&mut said);
        }
        let source = match said.lines().rfind(|line| !line.trim().is_empty()) {
            Some(line) => io::Error::new(error.kind(), line.to_owned()),
            None => error,
        };
        Error::Write { path: self.path.clone(), source }
    }
}

impl Drop for VideoWriter {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.temporary);
    }
}

/// The better encoder where ffmpeg has it.
fn encoder() -> &'static str {
    let output = ffmpeg().args(["-hide_banner", "-encoders"]).stdin(Stdio::null()).stderr(Stdio::null()).output();
    let has = |name: &str| output.as_ref().is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(name));
    if has("libx264") { "libx264" } else { "mpeg4" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn videos_cameras_and_streams_are_told_from_pictures() {
        let kind = |source: &str| Video::parse(source).map(|video| (video.input, video.live));
        for (source, input, live) in [
            ("a/clip.MP4", "a/clip.MP4", false),
            ("rtsp://host/1", "rtsp://host/1", true),
            ("https://host/clip.mp4", "https://host/clip.mp4", false),
            ("/dev/video2", "/dev/video2", true),
        ] {
            assert_eq!(kind(source), Some((input.to_owned(), live)), "{source}");
        }
        assert!(kind("0").is_some_and(|(input, live)| live && input.ends_with('0')));
        for source in ["bus.jpg", "folder", "photos/*.jpg", "list.txt", "1234", ""] {
            assert_eq!(kind(source), None, "{source}");
        }
        let secret = Video::parse("rtsp://me:pass@word@host:554/live?x=1").unwrap();
        assert_eq!((secret.name.as_str(), secret.stem().as_str()), ("rtsp://***@host:554/live?x=1", "cameralive"));
        assert_eq!(Video::parse("a/clip.one.mp4").unwrap().stem(), "clip_one");
    }

    #[test]
    fn frames_are_read_until_one_is_cut_short() {
        let mut bytes = b"P6\n2 1\n255\nabcdefP6\n1 1\n255\nxyzP6\n9 9\n255\nabc".as_slice();
        let first = read_frame(&mut bytes).unwrap().unwrap();
        assert_eq!((first.size(), first.pixels.as_slice()), ([1, 2], b"abcdef".as_slice()));
        assert_eq!(read_frame(&mut bytes).unwrap().unwrap().pixels, b"xyz");
        assert!(read_frame(&mut bytes).unwrap().is_none());
        assert!(read_frame(&mut b"GIF89a something".as_slice()).is_err());
        assert!(read_frame(&mut b"P6\n99999 1\n255\n".as_slice()).is_err());
    }
}
