//! A network as the tree of modules that Ultralytics pickles: classes by their public names, with their attributes.
//!
//! The tree follows from the network's description: a tensor's name is the path to its module, and the modules inside a module
//! tell its class. What a class keeps beside tensors was read off checkpoints that the program itself writes.

use yolo11_network::{BINS, Convolution, NORM_EPSILON, NORM_MOMENTUM, Network, Operation, STRIDES, TensorKind};

use crate::pickle::Writer;
use crate::pt::write_tensor;
use crate::{Checkpoint, Value};

/// Layers up to this one are the backbone, the others the neck and the head.
const LAST_OF_BACKBONE: usize = 10;
/// The strides, which a detector keeps beside its state.
pub(crate) const STRIDE_VALUES: [f32; 3] = [8.0, 16.0, 32.0];

/// What stands at a place of the tree.
enum Branch<'n> {
    Module(Vec<(&'n str, Branch<'n>)>),
    /// A tensor, by its position in the network.
    Tensor(usize),
}

/// Writes the model of a checkpoint as one object of the class `DetectionModel`.
pub(crate) fn write(writer: &mut Writer, checkpoint: &Checkpoint) {
    let network = checkpoint.model.network();
    TreeWriter { writer, network, activation: None }.root(checkpoint);
}

struct TreeWriter<'w, 'n> {
    writer: &'w mut Writer,
    network: &'n Network,
    /// Where the one SiLU that all convolutions share is kept.
    activation: Option<u32>,
}

impl<'n> TreeWriter<'_, 'n> {
    fn root(&mut self, checkpoint: &Checkpoint) {
        let network = self.network;
        self.begin("ultralytics.nn.tasks", "DetectionModel");
        self.no_tensors();
        self.children(|tree| {
            tree.writer.text("model");
            tree.begin("torch.nn.modules.container", "Sequential");
            tree.no_tensors();
            tree.children(|tree| {
                for layer in 0..network.layers() {
                    tree.writer.text(&layer.to_string());
                    tree.layer(layer);
                }
            });
            tree.writer.end_object();
        });
        self.writer.text("yaml");
        self.writer.value(&self.architecture());
        self.writer.entry("save", kept_layers(network));
        self.writer.text("names");
        write_names(self.writer, &checkpoint.names);
        self.writer.entry("inplace", true);
        self.writer.entry("nc", network.classes);
        self.strides();
        self.writer.text("args");
        let mut arguments = vec![("task".to_string(), Value::from("detect"))];
        let known = ["model", "data", "imgsz", "single_cls"];
        arguments.extend(checkpoint.train_args.iter().filter(|(name, _)| known.contains(&name.as_str())).cloned());
        self.writer.map(&arguments);
        self.writer.entry("task", "detect");
        self.writer.end_object();
    }

    /// A numbered layer: a block with its tensors, or an operation without any.
    fn layer(&mut self, layer: usize) {
        let path = format!("model.{layer}");
        let mut branches = Vec::new();
        for (index, spec) in self.network.tensors().iter().enumerate() {
            if let Some(name) = spec.name.strip_prefix(&path).and_then(|rest| rest.strip_prefix('.')) {
                grow(&mut branches, name, index);
            }
        }
        self.module(&path, &branches, Some(layer));
    }

    /// A module whose class its children tell. A `layer` has also the attributes by which the model runs its layers in turn.
    fn module(&mut self, path: &str, branches: &[(&'n str, Branch<'n>)], layer: Option<usize>) {
        let names: Vec<&str> = branches.iter().map(|(name, _)| *name).collect();
        let (module, class) = self.class(path, &names, branches, layer);
        self.begin(module, class);
        self.tensors(class, branches);
        self.children(|tree| {
            for (name, branch) in branches {
                if let Branch::Module(inner) = branch {
                    tree.writer.text(name);
                    tree.module(&format!("{path}.{name}"), inner, None);
                }
            }
            // Modules without tensors.
            match class {
                "Conv" | "DWConv" => tree.activation(path),
                "SPPF" => tree.pooling(),
                _ => {}
            }
        });
        self.attributes(path, class);
        if let Some(layer) = layer {
            self.place_of_layer(layer, &format!("{module}.{class}"));
        }
        self.writer.end_object();
    }

    fn class(
        &self,
        path: &str,
        names: &[&str],
        branches: &[(&'n str, Branch<'n>)],
        layer: Option<usize>,
    ) -> (&'static str, &'static str) {
        const CONV: &str = "ultralytics.nn.modules.conv";
        const BLOCK: &str = "ultralytics.nn.modules.block";
        const CONTAINER: &str = "torch.nn.modules.container";
        match names {
            [] if self.operation(path) == Some(&Operation::Upsample) => ("torch.nn.modules.upsampling", "Upsample"),
            [] => (CONV, "Concat"),
            ["weight"] | ["weight", "bias"] => ("torch.nn.modules.conv", "Conv2d"),
            ["weight", "bias", ..] => ("torch.nn.modules.batchnorm", "BatchNorm2d"),
            // Attention's positional convolution is depthwise too, but not by its class.
            ["conv", "bn"] => {
                let depthwise = self.convolution(path).is_some_and(Convolution::is_depthwise);
                (CONV, if depthwise && !path.ends_with(".pe") { "DWConv" } else { "Conv" })
            }
            ["conv"] => (BLOCK, "DFL"),
            ["cv1", "cv2"] if layer.is_some() => (BLOCK, "SPPF"),
            ["cv1", "cv2"] => (BLOCK, "Bottleneck"),
            ["cv1", "cv2", "cv3", "m"] => (BLOCK, "C3k"),
            ["cv1", "cv2", "m"] if child(branches, &["m", "0", "attn"]).is_some() => (BLOCK, "C2PSA"),
            ["cv1", "cv2", "m"] => (BLOCK, "C3k2"),
            ["attn", "ffn"] => (BLOCK, "PSABlock"),
            ["qkv", "proj", "pe"] => (BLOCK, "Attention"),
            ["cv2", "cv3", "dfl"] => ("ultralytics.nn.modules.head", "Detect"),
            // Numbered: lists whose members are picked by the block, chains that run in order.
            _ if self.is_list(path) => (CONTAINER, "ModuleList"),
            _ => (CONTAINER, "Sequential"),
        }
    }

    /// The head's branches and the inner blocks of a C3k2; C3k, C2PSA and the branches themselves are chains.
    fn is_list(&self, path: &str) -> bool {
        let parts: Vec<&str> = path.split('.').collect();
        let inner = self.network.tensor_index(&format!("{path}.0.attn.qkv.conv.weight")).is_none();
        matches!(parts[..], [_, _, "cv2" | "cv3"]) || (matches!(parts[..], [_, _, "m"]) && inner)
    }

    fn operation(&self, path: &str) -> Option<&'n Operation> {
        self.network.nodes.iter().find(|node| node.name == path).map(|node| &node.operation)
    }

    fn convolution(&self, path: &str) -> Option<&'n Convolution> {
        match self.operation(path) {
            Some(Operation::Convolution(convolution)) => Some(convolution),
            _ => None,
        }
    }

    /// The weight's shape of the convolution inside a module.
    fn weight(&self, name: &str) -> &'n [usize] {
        self.network.tensor_index(name).map_or(&[], |index| &self.network.tensors()[index].shape)
    }

    /// Attributes of a class beside those that every module has.
    fn attributes(&mut self, path: &str, class: &str) {
        match class {
            "Conv2d" => self.convolution_attributes(path),
            "BatchNorm2d" => {
                let features = self.weight(&format!("{path}.weight")).first().copied().unwrap_or(0);
                self.writer.entry("num_features", features);
                self.writer.entry("eps", decimal(NORM_EPSILON));
                self.writer.entry("momentum", decimal(NORM_MOMENTUM));
                self.writer.entry("affine", true);
                self.writer.entry("track_running_stats", true);
            }
            "Upsample" => {
                self.writer.entry("name", "Upsample");
                self.writer.entry("size", Value::None);
                self.writer.entry("scale_factor", 2.0);
                self.writer.entry("mode", "nearest");
                self.writer.entry("align_corners", Value::None);
                self.writer.entry("recompute_scale_factor", Value::None);
            }
            "Concat" => self.writer.entry("d", 1usize),
            "Bottleneck" | "PSABlock" => self.writer.entry("add", true),
            "C3k2" | "C2PSA" => {
                let both = self.weight(&format!("{path}.cv1.conv.weight")).first().copied().unwrap_or(0);
                self.writer.entry("c", both / 2);
            }
            "SPPF" => {
                self.writer.entry("n", 3usize);
                self.writer.entry("add", false);
            }
            "Attention" => {
                if let Some(&Operation::Attention { heads, key_width, head_width }) = self.operation(path) {
                    self.writer.entry("num_heads", heads);
                    self.writer.entry("head_dim", head_width);
                    self.writer.entry("key_dim", key_width);
                    self.writer.entry("scale", (key_width as f64).powf(-0.5));
                }
            }
            "DFL" => self.writer.entry("c1", BINS),
            "Detect" => {
                self.writer.entry("nc", self.network.classes);
                self.writer.entry("nl", STRIDES.len());
                self.writer.entry("reg_max", BINS);
                self.writer.entry("no", self.network.classes + 4 * BINS);
                self.strides();
                self.writer.entry("inplace", true);
            }
            _ => {}
        }
    }

    fn convolution_attributes(&mut self, path: &str) {
        let shape = self.weight(&format!("{path}.weight"));
        let &[output, input, kernel, _] = shape else { return };
        let operation = self.convolution(path).or_else(|| self.convolution(path.strip_suffix(".conv")?));
        let (stride, groups) = operation.map_or((1, 1), |convolution| (convolution.stride, convolution.groups));
        let padding = kernel / 2;
        self.writer.entry("in_channels", input * groups);
        self.writer.entry("out_channels", output);
        let tuples: [(&str, &[usize]); 4] = [
            ("kernel_size", &[kernel; 2]),
            ("stride", &[stride; 2]),
            ("padding", &[padding; 2]),
            ("dilation", &[1; 2]),
        ];
        for (name, values) in tuples {
            self.writer.text(name);
            self.writer.tuple(values);
        }
        self.writer.entry("transposed", false);
        self.writer.text("output_padding");
        self.writer.tuple(&[0; 2]);
        self.writer.entry("groups", groups);
        self.writer.entry("padding_mode", "zeros");
        self.writer.text("_reversed_padding_repeated_twice");
        self.writer.tuple(&[padding; 4]);
    }

    /// SiLU, or nothing where the convolution is linear.
    fn activation(&mut self, path: &str) {
        self.writer.text("act");
        let silu = self.convolution(path).is_none_or(|convolution| convolution.silu);
        match self.activation {
            Some(place) if silu => self.writer.recall(place),
            _ if silu => {
                self.begin("torch.nn.modules.activation", "SiLU");
                self.no_tensors();
                self.children(|_| {});
                self.writer.entry("inplace", true);
                self.writer.end_object();
                self.activation = Some(self.writer.remember());
            }
            _ => {
                self.begin("torch.nn.modules.linear", "Identity");
                self.no_tensors();
                self.children(|_| {});
                self.writer.end_object();
            }
        }
    }

    /// The pooling that an SPPF applies three times.
    fn pooling(&mut self) {
        let kernels = self.network.nodes.iter().find_map(|node| match node.operation {
            Operation::MaxPool { kernel } => Some(kernel),
            _ => None,
        });
        let kernel = kernels.unwrap_or(5);
        self.writer.text("m");
        self.begin("torch.nn.modules.pooling", "MaxPool2d");
        self.no_tensors();
        self.children(|_| {});
        for (name, value) in [("kernel_size", kernel), ("stride", 1), ("padding", kernel / 2), ("dilation", 1)] {
            self.writer.entry(name, value);
        }
        self.writer.entry("return_indices", false);
        self.writer.entry("ceil_mode", false);
        self.writer.end_object();
    }

    /// A layer's parameters, number, inputs and type.
    fn place_of_layer(&mut self, layer: usize, class: &str) {
        let prefix = format!("model.{layer}.");
        let counted = |kind: TensorKind| kind.is_parameter() || kind == TensorKind::DflWeight;
        let own = self.network.tensors().iter().filter(|spec| spec.name.starts_with(&prefix) && counted(spec.kind));
        self.writer.entry("np", own.map(|spec| spec.elements()).sum::<usize>());
        self.writer.entry("i", layer);
        self.writer.entry("f", inputs(self.network, layer));
        self.writer.entry("type", class);
    }

    /// The architecture as a table from which an equal model is made, with the channels and repeats of this very scale.
    fn architecture(&self) -> Value {
        let network = self.network;
        let letter = network.scale.letter().to_string();
        let rows: Vec<Value> = (0..network.layers()).map(|layer| self.row(layer)).collect();
        let (backbone, head) = rows.split_at(LAST_OF_BACKBONE + 1);
        // No multiples: depth 1, width 1, and no bound on the channels.
        let scale = vec![Value::Float(1.0), Value::Float(1.0), Value::Int(1 << 20)];
        let entries = [
            ("nc", Value::from(network.classes)),
            ("scales", Value::Map(vec![(letter.clone(), scale.into())])),
            ("backbone", backbone.to_vec().into()),
            ("head", head.to_vec().into()),
            ("scale", letter.into()),
            ("yaml_file", format!("{}.yaml", network.scale.model_name()).into()),
            ("channels", Value::Int(3)),
        ];
        Value::Map(entries.map(|(key, value)| (key.to_string(), value)).into())
    }

    /// Inputs, repeats, class and arguments of a layer.
    fn row(&self, layer: usize) -> Value {
        let path = format!("model.{layer}");
        let output = |name: &str| self.weight(&format!("{path}.{name}.conv.weight")).first().copied().unwrap_or(0);
        let repeats = |part: &str| {
            (0..).take_while(|index| self.network.tensor_index(&format!("{path}.m.{index}.{part}")).is_some()).count()
        };
        let (number, class, arguments): (usize, &str, Vec<Value>) = match self.operation(&path) {
            Some(Operation::Convolution(convolution)) => {
                let Convolution { output_channels, kernel, stride, .. } = *convolution;
                (1, "Conv", [output_channels, kernel, stride].map(Value::from).into())
            }
            Some(Operation::Upsample) => (1, "nn.Upsample", vec!["None".into(), 2usize.into(), "nearest".into()]),
            Some(Operation::Concat) => (1, "Concat", vec![1usize.into()]),
            _ if layer + 1 == self.network.layers() => (1, "Detect", vec!["nc".into()]),
            _ if repeats("attn.qkv.conv.weight") > 0 => {
                (repeats("attn.qkv.conv.weight"), "C2PSA", vec![output("cv2").into()])
            }
            _ if repeats("cv1.conv.weight") > 0 => {
                let c3k = self.network.tensor_index(&format!("{path}.m.0.cv3.conv.weight")).is_some();
                let expansion = (output("cv1") / 2) as f64 / output("cv2") as f64;
                (repeats("cv1.conv.weight"), "C3k2", vec![output("cv2").into(), c3k.into(), expansion.into()])
            }
            _ => (1, "SPPF", vec![output("cv2").into(), 5usize.into()]),
        };
        Value::List(vec![inputs(self.network, layer), number.into(), class.into(), arguments.into()])
    }

    /// Begins a module with what every module has.
    fn begin(&mut self, module: &str, class: &str) {
        self.writer.begin_object(module, class);
        self.writer.entry("training", false);
        self.writer.text("_non_persistent_buffers_set");
        self.writer.set();
        self.writer.entry("_is_full_backward_hook", Value::None);
        for name in [
            "_backward_pre_hooks",
            "_backward_hooks",
            "_forward_hooks",
            "_forward_hooks_with_kwargs",
            "_forward_hooks_always_called",
            "_forward_pre_hooks",
            "_forward_pre_hooks_with_kwargs",
            "_state_dict_hooks",
            "_state_dict_pre_hooks",
            "_load_state_dict_pre_hooks",
            "_load_state_dict_post_hooks",
        ] {
            self.writer.text(name);
            self.writer.ordered_dict();
        }
    }

    /// Parameters, then buffers. A convolution without a bias names it all the same.
    fn tensors(&mut self, class: &str, branches: &[(&str, Branch)]) {
        for (list, parameters) in [("_parameters", true), ("_buffers", false)] {
            self.writer.text(list);
            self.writer.begin_dict();
            for (name, branch) in branches {
                let Branch::Tensor(index) = branch else { continue };
                let kind = self.network.tensors()[*index].kind;
                if (kind.is_parameter() || kind == TensorKind::DflWeight) != parameters {
                    continue;
                }
                self.writer.text(name);
                if parameters {
                    self.writer.begin_parameter();
                }
                write_tensor(self.writer, self.network, *index);
                if parameters {
                    self.writer.end_parameter();
                }
            }
            if parameters && class == "Conv2d" && !branches.iter().any(|(name, _)| *name == "bias") {
                self.writer.entry("bias", Value::None);
            }
            self.writer.end_dict();
        }
    }

    fn no_tensors(&mut self) {
        self.tensors("", &[]);
    }

    fn children(&mut self, write: impl FnOnce(&mut Self)) {
        self.writer.text("_modules");
        self.writer.begin_dict();
        write(self);
        self.writer.end_dict();
    }

    /// The attribute `stride`, whose storage follows those of the state.
    fn strides(&mut self) {
        let count = STRIDE_VALUES.len();
        self.writer.text("stride");
        self.writer.tensor(self.network.tensors().len(), "FloatStorage", &[count], &[1], count);
    }
}

/// Adds a tensor under a dotted name.
fn grow<'n>(branches: &mut Vec<(&'n str, Branch<'n>)>, name: &'n str, index: usize) {
    let Some((first, rest)) = name.split_once('.') else {
        return branches.push((name, Branch::Tensor(index)));
    };
    if branches.last().is_none_or(|(last, _)| *last != first) {
        branches.push((first, Branch::Module(Vec::new())));
    }
    if let Some((_, Branch::Module(inner))) = branches.last_mut() {
        grow(inner, rest, index);
    }
}

fn child<'b, 'n>(branches: &'b [(&'n str, Branch<'n>)], path: &[&str]) -> Option<&'b Branch<'n>> {
    let (first, rest) = path.split_first()?;
    let (_, branch) = branches.iter().find(|(name, _)| name == first)?;
    match branch {
        Branch::Module(inner) if !rest.is_empty() => child(inner, rest),
        found => rest.is_empty().then_some(found),
    }
}

/// The layers whose outputs a layer takes: −1 means the one before it. The head names all of them.
fn sources(network: &Network, layer: usize) -> Vec<i64> {
    let made_by = |value: usize| network.nodes.iter().find(|node| node.output == value).map(|node| node.layer);
    let mut found = Vec::new();
    for node in network.nodes.iter().filter(|node| node.layer == layer) {
        for &input in &node.inputs {
            let source = made_by(input).filter(|&source| source != layer);
            let previous = source.is_none_or(|source| source + 1 == layer) && layer + 1 != network.layers();
            let source = source.map_or(-1, |source| source as i64);
            let made_here = made_by(input) == Some(layer);
            let source = if previous { -1 } else { source };
            if !made_here && !found.contains(&source) {
                found.push(source);
            }
        }
    }
    found
}

/// As the field writes them: one number, or a list.
fn inputs(network: &Network, layer: usize) -> Value {
    match sources(network, layer)[..] {
        [source] => Value::Int(source),
        ref several => several.iter().map(|&source| Value::Int(source)).collect::<Vec<_>>().into(),
    }
}

/// Layers whose outputs are wanted later than by the next one.
fn kept_layers(network: &Network) -> Value {
    let all = (0..network.layers()).flat_map(|layer| sources(network, layer));
    let kept: std::collections::BTreeSet<i64> = all.filter(|&source| source >= 0).collect();
    kept.into_iter().map(Value::Int).collect::<Vec<_>>().into()
}

/// The number whose decimal form is the constant's, and not the nearest float32's.
fn decimal(constant: f32) -> f64 {
    constant.to_string().parse().unwrap_or(constant.into())
}

/// Class names by number.
pub(crate) fn write_names(writer: &mut Writer, names: &[String]) {
    writer.begin_dict();
    for (class, name) in names.iter().enumerate() {
        writer.int(class as i64);
        writer.text(name);
    }
    writer.end_dict();
}
