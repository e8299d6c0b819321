//! The host's program as a file.

use e2e::harness::host_program;

/// `PT_INTERP`: the program asks for a loader, and by it for libraries.
const INTERPRETER: usize = 3;

/// It runs in an image that has nothing else in it, and on a node whose C library is another.
#[test]
#[cfg_attr(
    not(all(target_os = "linux", target_pointer_width = "64")),
    ignore = "linked statically on Linux only"
)]
fn needs_no_library_of_the_system() {
    let program = host_program();
    let elf = std::fs::read(&program).unwrap();
    assert_eq!(elf[..6], *b"\x7fELF\x02\x01", "64 bits, little-endian");
    let number = |at: usize, bytes: usize| {
        elf[at..at + bytes].iter().rev().fold(0usize, |number, byte| number << 8 | usize::from(*byte))
    };
    let (headers, size, count) = (number(0x20, 8), number(0x36, 2), number(0x38, 2));
    assert!(count > 0);
    for header in 0..count {
        let kind = number(headers + header * size, 4);
        assert_ne!(kind, INTERPRETER, "{} is linked dynamically: `make build`", program.display());
    }
}
