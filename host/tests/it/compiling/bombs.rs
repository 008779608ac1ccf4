//! Components that are small and valid, and that a compiler chokes on.

/// A name for each kind, and its bytes.
pub(crate) fn bomb(name: &str) -> Vec<u8> {
    let functions = match name {
        "one-huge-function" => vec![huge_function(7_000_000)],
        "a-million-functions" => vec![body(&[], &[]); 999_999],
        "deep-nesting" => vec![nested(1_000_000)],
        "wide-tables" => vec![body(&[], &tables(65_520, 40)); 2],
        "too-wide-a-table" => vec![body(&[], &tables(65_521, 1))],
        "nothing-special" => vec![body(&[], &[])],
        "huge-names" => return component(&[module(&vec![body(&[], &[]); 100_000]), names(100_000, 500)].concat()),
        other => panic!("no bomb is called {other}"),
    };
    component(&module(&functions))
}

/// Loops one after the other, each of which changes a thousand variables: every loop joins them all.
fn huge_function(bytes: usize) -> Vec<u8> {
    const LOCALS: usize = 1000;
    let mut one = vec![0x03, 0x40];
    for local in 0..LOCALS {
        let local = leb(local);
        // local.set (i32.add (local.get) (i32.const 1))
        one.extend([&[0x20][..], &local, &[0x41, 1, 0x6a, 0x21], &local].concat());
    }
    // The loop goes on while the first variable is not zero.
    one.extend([0x20, 0, 0x0d, 0, 0x0b]);
    body(&[(LOCALS, 0x7f)], &one.repeat(bytes / one.len()))
}

fn nested(depth: usize) -> Vec<u8> {
    body(&[], &[[0x02, 0x40].repeat(depth), vec![0x0b; depth]].concat())
}

/// `br_table`s of so many targets, each in a block of its own.
fn tables(targets: usize, count: usize) -> Vec<u8> {
    let table = [&[0x02, 0x40, 0x41, 0, 0x0e][..], &leb(targets), &vec![0; targets + 1], &[0x0b]].concat();
    table.repeat(count)
}

/// A function without parameters and results.
fn body(locals: &[(usize, u8)], code: &[u8]) -> Vec<u8> {
    let mut body = leb(locals.len());
    for (count, kind) in locals {
        body.extend(leb(*count));
        body.push(*kind);
    }
    body.extend(code);
    body.push(0x0b);
    [leb(body.len()), body].concat()
}

fn module(functions: &[Vec<u8>]) -> Vec<u8> {
    let count = leb(functions.len());
    [
        b"\0asm\x01\0\0\0".to_vec(),
        section(1, &[1, 0x60, 0, 0]),
        section(3, &[&count[..], &vec![0; functions.len()]].concat()),
        section(10, &[&count[..], &functions.concat()].concat()),
    ]
    .concat()
}

/// A `name` section with a name for each function.
fn names(functions: usize, length: usize) -> Vec<u8> {
    let mut list = leb(functions);
    for function in 0..functions {
        list.extend(leb(function));
        list.extend(leb(length));
        list.extend(format!("{function:0length$}").bytes());
    }
    section(0, &[&b"\x04name"[..], &section(1, &list)].concat())
}

fn component(module: &[u8]) -> Vec<u8> {
    [b"\0asm\x0d\0\x01\0".to_vec(), section(1, module)].concat()
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id][..], &leb(content.len()), content].concat()
}

fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}
