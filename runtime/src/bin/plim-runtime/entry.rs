//! Where the program begins: before the C library and everything else, it executes itself from a place where nobody can write
//! its file, if it is about to enter a container.
//!
//! `runtime::process::protect` says why, does the same later, and does it whenever this could not. Here it costs a tenth of it, for
//! a C library that was not yet started need not be started twice: on a virtual machine that is a third of a millisecond.
//!
//! It is assembly because nothing is relocated yet: any call or constant of the compiler's might go through a table that is
//! still empty. It uses system calls, its own stack and its own constants alone, and whatever fails, it goes on as if it had
//! never been there.

use std::arch::global_asm;
use std::fs::File;
use std::os::fd::{AsRawFd, IntoRawFd};

use nix::sys::signal::{SigHandler, Signal, signal};

/// Where the C library goes on: instead of Rust's own preparations, of which one reads the whole of /proc/self/maps to tell an overflow
/// of the stack by words. These two are needed.
// SAFETY: the C library calls the one function of this name, with these arguments, and expects this value.
#[unsafe(no_mangle)]
extern "C" fn main(_: libc::c_int, _: *const *const libc::c_char) -> libc::c_int {
    if keep_standard_streams().is_err() {
        return 1;
    }
    // SAFETY: no handler function is installed.
    let ignored = unsafe { signal(Signal::SIGPIPE, SigHandler::SigIgn) };
    if ignored.is_err() { 1 } else { runtime::cli::main().into() }
}

/// A caller may have closed them, and what is opened next must not be taken for one of them.
fn keep_standard_streams() -> std::io::Result<()> {
    let highest = 2;
    // SAFETY: F_GETFD looks at a descriptor and changes nothing.
    let is_open = |fd| unsafe { libc::fcntl(fd, libc::F_GETFD) } >= 0;
    if (0..=highest).all(is_open) {
        return Ok(());
    }
    loop {
        let file = File::options().read(true).write(true).open("/dev/null")?;
        if file.as_raw_fd() > highest {
            return Ok(());
        }
        let _ = file.into_raw_fd();
    }
}

global_asm!(
    ".pushsection .text.plim_entry, \"ax\", @progbits",
    ".globl plim_entry",
    ".type plim_entry, @function",
    "plim_entry:",
    // What the kernel left for `_start`: argc, argv and envp on the stack, a function for atexit(3) in rdx.
    "    mov r12, rsp",
    "    mov r14, rdx",
    // Is one of the arguments a command that executes something in a container?
    "    mov r13, [r12]",
    "    lea rbx, [r12 + 8]",
    "2:  dec r13",
    "    jle 8f",
    "    add rbx, 8",
    "    mov rsi, [rbx]",
    "    lea rdi, [rip + {create}]",
    "    mov ecx, 7",
    "    repe cmpsb",
    "    je 3f",
    "    mov rsi, [rbx]",
    "    lea rdi, [rip + {run}]",
    "    mov ecx, 4",
    "    repe cmpsb",
    "    je 3f",
    "    mov rsi, [rbx]",
    "    lea rdi, [rip + {exec}]",
    "    mov ecx, 5",
    "    repe cmpsb",
    "    jne 2b",
    // Is the file on a read-only mount already, as it is when this runs for the second time?
    "3:  sub rsp, {room}",
    "    mov eax, {statfs}",
    "    lea rdi, [rip + {own}]",
    "    mov rsi, rsp",
    "    syscall",
    "    test rax, rax",
    "    jnz 8f",
    "    test byte ptr [rsp + {flags}], {read_only}",
    "    jnz 8f",
    // A copy of its mount that shows just this file, read-only, attached nowhere. It stays open, see `protect::let_go`.
    "    mov eax, {open_tree}",
    "    mov edi, {here}",
    "    lea rsi, [rip + {own}]",
    "    mov edx, {clone}",
    "    syscall",
    "    test rax, rax",
    "    js 8f",
    "    mov ebx, eax",
    "    mov eax, {mount_setattr}",
    "    mov edi, ebx",
    "    lea rsi, [rip + {nothing}]",
    "    mov edx, {empty_path}",
    "    lea r10, [rip + {attributes}]",
    "    mov r8d, {attributes_size}",
    "    syscall",
    "    test rax, rax",
    "    jnz 7f",
    "    mov eax, {execveat}",
    "    mov edi, ebx",
    "    lea rsi, [rip + {nothing}]",
    "    lea rdx, [r12 + 8]",
    "    mov rcx, [r12]",
    "    lea r10, [r12 + rcx * 8 + 16]",
    "    mov r8d, {empty_path}",
    "    syscall",
    "7:  mov eax, {close}",
    "    mov edi, ebx",
    "    syscall",
    "8:  mov rsp, r12",
    "    mov rdx, r14",
    "    xor ebp, ebp",
    "    jmp _start",
    ".size plim_entry, . - plim_entry",
    ".popsection",
    create = sym CREATE,
    run = sym RUN,
    exec = sym EXEC,
    own = sym OWN,
    nothing = sym NOTHING,
    attributes = sym ATTRIBUTES,
    attributes_size = const size_of::<libc::mount_attr>(),
    room = const size_of::<libc::statfs64>().next_multiple_of(16),
    flags = const std::mem::offset_of!(libc::statfs64, f_flags),
    read_only = const libc::ST_RDONLY,
    here = const libc::AT_FDCWD,
    clone = const libc::OPEN_TREE_CLONE,
    empty_path = const libc::AT_EMPTY_PATH,
    statfs = const libc::SYS_statfs,
    open_tree = const libc::SYS_open_tree,
    mount_setattr = const libc::SYS_mount_setattr,
    execveat = const libc::SYS_execveat,
    close = const libc::SYS_close,
);

/// The commands that `runtime::cli` protects itself for.
static CREATE: [u8; 7] = *b"create\0";
static RUN: [u8; 4] = *b"run\0";
static EXEC: [u8; 5] = *b"exec\0";

static OWN: [u8; 15] = *b"/proc/self/exe\0";
static NOTHING: [u8; 1] = *b"\0";

static ATTRIBUTES: libc::mount_attr =
    libc::mount_attr { attr_set: libc::MOUNT_ATTR_RDONLY, attr_clr: 0, propagation: 0, userns_fd: 0 };
