//! Which Python objects a detector's checkpoint may name. Nothing named is ever imported or run here, whatever this list says:
//! it decides whether a file is what it claims to be.

/// Whether a global may stand in the tree as inert data.
pub(super) fn is_expected(module: &str, name: &str) -> bool {
    // `module` + `os.system`: a dotted name reaches through an innocent module to any other.
    if name.contains('.') || module.is_empty() || name.is_empty() {
        return false;
    }
    match module {
        "builtins" | "__builtin__" => matches!(
            name,
            "set" | "frozenset" | "list" | "dict" | "tuple" | "int" | "float" | "bool" | "str" | "bytes" | "bytearray"
                | "complex" | "slice" | "range" | "object" | "long" | "unicode" | "xrange"
                // Bound methods of modules are pickled through it; the machine checks what it is applied to.
                | "getattr"
        ),
        "collections" => matches!(name, "OrderedDict" | "defaultdict" | "Counter" | "deque"),
        "_codecs" => name == "encode",
        "copyreg" | "copy_reg" => name == "_reconstructor",
        "types" => name == "SimpleNamespace",
        "argparse" => name == "Namespace",
        "datetime" => matches!(name, "datetime" | "date" | "time" | "timedelta" | "timezone"),
        "pathlib" | "pathlib._local" => name.ends_with("Path"),
        "torch" => is_torch_data(name),
        "torch._utils" => name.starts_with("_rebuild_"),
        "torch._tensor" => name == "_rebuild_from_type_v2",
        "torch.storage" => matches!(name, "UntypedStorage" | "TypedStorage" | "_UntypedStorage" | "_TypedStorage"),
        "torch.serialization" => name == "_get_layout",
        "torch.torch_version" => name == "TorchVersion",
        "torch._C._nn" => true,
        "torch.amp.grad_scaler" | "torch.cuda.amp.grad_scaler" => true,
        _ => {
            let within = |package: &str| {
                module == package || module.strip_prefix(package).is_some_and(|rest| rest.starts_with('.'))
            };
            within("torch.nn") || within("torch.optim") || within("ultralytics") || is_numpy_data(module, name)
        }
    }
}

fn is_torch_data(name: &str) -> bool {
    let types = [
        "float16",
        "float32",
        "float64",
        "bfloat16",
        "half",
        "float",
        "double",
        "uint8",
        "int8",
        "int16",
        "int32",
        "int64",
        "bool",
        "complex64",
        "complex128",
        "float8_e4m3fn",
        "float8_e5m2",
        "uint16",
        "uint32",
        "uint64",
    ];
    name.ends_with("Storage")
        || types.contains(&name)
        || matches!(name, "Size" | "device" | "Tensor" | "strided" | "channels_last" | "contiguous_format")
}

fn is_numpy_data(module: &str, name: &str) -> bool {
    match module {
        "numpy.core.multiarray" | "numpy._core.multiarray" => matches!(name, "scalar" | "_reconstruct"),
        "numpy.dtypes" => name.ends_with("DType"),
        "numpy" => {
            name == "dtype"
                || name == "ndarray"
                || ["float", "int", "uint", "bool"].iter().any(|kind| name.starts_with(kind))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::is_expected;

    #[test]
    fn data_is_expected_and_code_is_not() {
        for (module, name) in [
            ("collections", "OrderedDict"),
            ("torch._utils", "_rebuild_tensor_v2"),
            ("torch", "HalfStorage"),
            ("torch.nn.modules.conv", "Conv2d"),
            ("ultralytics.nn.tasks", "DetectionModel"),
            ("numpy.core.multiarray", "scalar"),
            ("pathlib", "PosixPath"),
            ("__builtin__", "set"),
        ] {
            assert!(is_expected(module, name), "{module}.{name}");
        }
        for (module, name) in [
            ("os", "system"),
            ("posix", "system"),
            ("nt", "system"),
            ("subprocess", "Popen"),
            ("builtins", "eval"),
            ("builtins", "exec"),
            ("__builtin__", "__import__"),
            ("torch.hub", "load"),
            ("torch.storage", "_load_from_bytes"),
            ("torch.serialization", "os.system"),
            ("torch", "load"),
            ("torchvision", "io"),
            ("ultralytics_evil", "run"),
            ("numpy.testing._private.utils", "runstring"),
            ("functools", "partial"),
            ("runpy", "_run_code"),
            ("", "x"),
        ] {
            assert!(!is_expected(module, name), "{module}.{name}");
        }
    }
}
