//! NVIDIA's driver and the devices it sees, asked of the driver's own library.

use std::ffi::{CStr, c_char, c_int, c_uint};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::Version;
use super::libraries::symbol;
use super::load::{Failure, Loaded, first};

/// The file that the driver brings.
pub(super) const FILE: &str = "libcuda.so.1";
/// Numbers of attributes in the driver's interface.
const CAPABILITY: [c_int; 2] = [75, 76];

/// How the driver is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Driver {
    /// There is none: the file `libcuda.so.1` was not found.
    Missing,
    /// Its library was found and cannot be used.
    Unloadable {
        /// The file.
        path: PathBuf,
        /// The loader's words.
        reason: String,
    },
    /// It is installed and says why it sees no device.
    Unready {
        /// Its library.
        path: PathBuf,
        /// Its own words.
        reason: String,
    },
    /// It sees these devices.
    Ready(Ready),
}

/// A driver that works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Its library.
    pub path: PathBuf,
    /// Its own version, such as 580.95.05, where the system tells.
    pub version: Option<String>,
    /// The newest version of CUDA that it runs.
    pub cuda: Version,
    /// The devices, in CUDA's order.
    pub devices: Vec<Device>,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its name, such as `NVIDIA H100 80GB HBM3`.
    pub name: String,
    /// Its compute capability, such as 9.0.
    pub capability: Version,
    /// Bytes of its memory.
    pub memory: u64,
}

impl Driver {
    /// How many devices there are for programs.
    pub fn devices(&self) -> &[Device] {
        match self {
            Driver::Ready(ready) => &ready.devices,
            _ => &[],
        }
    }
}

/// The driver, asked once for the process.
pub fn driver() -> &'static Driver {
    static DRIVER: OnceLock<Driver> = OnceLock::new();
    DRIVER.get_or_init(|| match first(&[FILE]) {
        Err(Failure::Missing) => Driver::Missing,
        Err(Failure::Unloadable { path, reason }) => Driver::Unloadable { path, reason },
        Ok(loaded) => match ask(&loaded) {
            Ok(driver) => driver,
            Err(reason) => Driver::Unloadable { path: loaded.path, reason },
        },
    })
}

/// Errors: it is not the driver's library.
fn ask(loaded: &Loaded) -> Result<Driver, String> {
    // SAFETY: the types are those of CUDA's header `cuda.h`, where results and devices are ints.
    let (initialise, words, version, count, device_of, name, memory, attribute) = unsafe {
        (
            symbol::<unsafe extern "C" fn(c_uint) -> c_int>(loaded.library, "cuInit")?,
            symbol::<unsafe extern "C" fn(c_int, *mut *const c_char) -> c_int>(loaded.library, "cuGetErrorString")?,
            symbol::<unsafe extern "C" fn(*mut c_int) -> c_int>(loaded.library, "cuDriverGetVersion")?,
            symbol::<unsafe extern "C" fn(*mut c_int) -> c_int>(loaded.library, "cuDeviceGetCount")?,
            symbol::<unsafe extern "C" fn(*mut c_int, c_int) -> c_int>(loaded.library, "cuDeviceGet")?,
            symbol::<unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int>(loaded.library, "cuDeviceGetName")?,
            symbol::<unsafe extern "C" fn(*mut usize, c_int) -> c_int>(loaded.library, "cuDeviceTotalMem_v2")?,
            symbol::<unsafe extern "C" fn(*mut c_int, c_int, c_int) -> c_int>(loaded.library, "cuDeviceGetAttribute")?,
        )
    };
    let unready = |code: c_int| {
        let mut text: *const c_char = std::ptr::null();
        // SAFETY: the address is ours; the text that the driver gives there, or none, is a constant of its own.
        let said = unsafe { (words(code, &mut text) == 0 && !text.is_null()).then(|| CStr::from_ptr(text)) };
        let said = said.map_or_else(String::new, |said| format!(" ({})", said.to_string_lossy()));
        Driver::Unready { path: loaded.path.clone(), reason: format!("it answers with code {code}{said}") }
    };
    macro_rules! answered {
        ($call:expr) => {{
            // SAFETY: every address that is given is that of a variable of the type that the header names.
            let code = unsafe { $call };
            if code != 0 {
                return Ok(unready(code));
            }
        }};
    }
    answered!(initialise(0));
    let (mut cuda, mut devices) = (0, 0);
    answered!(version(&mut cuda));
    answered!(count(&mut devices));
    let cuda = Version { major: (cuda / 1000) as u32, minor: (cuda % 1000 / 10) as u32, patch: None };
    let mut found = Vec::new();
    for number in 0..devices {
        let mut device = 0;
        answered!(device_of(&mut device, number));
        let (mut letters, mut bytes, mut capability) = ([0u8; 256], 0usize, [0; 2]);
        answered!(name(letters.as_mut_ptr().cast(), letters.len() as c_int, device));
        answered!(memory(&mut bytes, device));
        for (value, which) in capability.iter_mut().zip(CAPABILITY) {
            answered!(attribute(value, which, device));
        }
        let end = letters.iter().position(|letter| *letter == 0).unwrap_or(letters.len());
        found.push(Device {
            name: String::from_utf8_lossy(&letters[..end]).into_owned(),
            capability: Version { major: capability[0] as u32, minor: capability[1] as u32, patch: None },
            memory: bytes as u64,
        });
    }
    Ok(Driver::Ready(Ready { path: loaded.path.clone(), version: own_version(), cuda, devices: found }))
}

/// The version that the driver's kernel module tells.
fn own_version() -> Option<String> {
    let text = fs::read_to_string("/sys/module/nvidia/version").ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// NVIDIA's graphics processors on the machine's bus, with or without a driver; none where the system does not tell.
pub fn devices_on_bus() -> Option<usize> {
    on_bus(Path::new("/sys/bus/pci/devices"))
}

fn on_bus(folder: &Path) -> Option<usize> {
    let entries = fs::read_dir(folder).ok()?.flatten();
    let is_gpu = |device: &Path| {
        let read = |name: &str| fs::read_to_string(device.join(name)).unwrap_or_default();
        // The vendor's number, and the class of displays.
        read("vendor").trim() == "0x10de" && read("class").starts_with("0x03")
    };
    Some(entries.filter(|entry| is_gpu(&entry.path())).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn graphics_processors_of_nvidia_are_counted_on_the_bus() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(on_bus(&folder.path().join("none")), None);
        for (name, vendor, class) in [
            ("a", "0x10de", "0x030200"),
            ("b", "0x10de", "0x030000"),
            ("audio", "0x10de", "0x040300"),
            ("other", "0x8086", "0x030000"),
        ] {
            let device = folder.path().join(name);
            fs::create_dir(&device).unwrap();
            fs::write(device.join("vendor"), format!("{vendor}\n")).unwrap();
            fs::write(device.join("class"), format!("{class}\n")).unwrap();
        }
        assert_eq!(on_bus(folder.path()), Some(2));
    }
}
