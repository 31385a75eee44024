//! The pages are embedded in the program: a change among them is a reason to build anew.

fn main() {
    println!("cargo:rerun-if-changed=pages");
}
