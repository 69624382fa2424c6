//! Small components that take the compiler minutes or gigabytes.
use std::fmt::Write;

/// A component with these items that looks like an exporter until it is linked.
fn component(items: &str) -> Vec<u8> {
    let exporter = "(instance $i) (export \"offloom:export/exporter@0.1.0\" (instance $i))";
    wat::parse_str(format!("(component {exporter} {items})")).unwrap()
}

/// One function in which every loop may change every local: each local has a value in each loop.
pub fn many_values(locals: usize, loops: usize) -> Vec<u8> {
    let mut body = String::new();
    for index in 0..loops {
        let local = index % locals;
        write!(
            body,
            "(loop (local.set {local} (i32.add (local.get {local}) (local.get 0))) (br_if 0 (local.get {local})))"
        )
        .unwrap();
    }
    let locals = "i32 ".repeat(locals);
    component(&format!("(core module (func (param i32) (local {locals}) (loop {body} (br 0))))"))
}

/// One function of many branches.
pub fn many_blocks(blocks: usize) -> Vec<u8> {
    let body =
        "(block (br_if 0 (local.get 0)) (local.set 1 (i32.add (local.get 1) (local.get 0))))"
            .repeat(blocks);
    component(&format!("(core module (func (param i32) (local i32) {body}))"))
}

/// One function of tables that lead to every block around them.
pub fn many_targets(blocks: usize, tables: usize) -> Vec<u8> {
    let targets: String = (0..blocks).map(|block| format!("{block} ")).collect();
    let table = format!("(block (br_table {targets} 0 (local.get 0)))").repeat(tables);
    let (open, close) = ("(block ".repeat(blocks), ")".repeat(blocks));
    component(&format!("(core module (func (param i32) {open} {table} {close}))"))
}

/// Functions that are each cheap to compile.
pub fn many_functions(count: usize) -> Vec<u8> {
    let step =
        "(local.set 0 (i64.mul (local.get 0) (i64.add (local.get 0) (i64.const 3))))".repeat(20);
    let functions = format!("(func (param i64) {step})").repeat(count);
    component(&format!("(core module {functions})"))
}

/// Types, all different.
pub fn many_types(count: usize) -> Vec<u8> {
    let mut types = String::new();
    for index in 0..count {
        write!(types, "(type (record (field \"a{index}\" u32) (field \"b\" string)))").unwrap();
    }
    component(&types)
}

/// Functions that cross between core modules and components: the compiler makes code for each.
pub fn many_crossings(count: usize) -> Vec<u8> {
    let module = "(core module $m (func (export \"f\"))) (core instance $m (instantiate $m))";
    let function = "(func $f (canon lift (core func $m \"f\")))";
    component(&format!(
        "{module} {function} {}",
        "(core func (canon lower (func $f)))".repeat(count)
    ))
}

/// Core instances of one module.
pub fn many_instances(count: usize) -> Vec<u8> {
    let module = "(core module $m (memory 1) (table 1 funcref) (func (export \"f\")))";
    component(&format!("{module} {}", "(core instance (instantiate $m))".repeat(count)))
}

/// Names of the same function.
pub fn many_aliases(count: usize) -> Vec<u8> {
    let module = "(core module $m (func (export \"f\"))) (core instance $m (instantiate $m))";
    let alias = "(alias core export $m \"f\" (core func))";
    component(&format!("{module} {}", alias.repeat(count)))
}
