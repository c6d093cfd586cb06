//! The operator's tool.

/// Wipes what is freed, as in the module: buffers of the AWS SDK hold plaintext keys.
#[global_allocator]
static ALLOCATOR: datakey::host::allocator::WipingAllocator = datakey::host::allocator::WipingAllocator;

fn main() -> std::process::ExitCode {
    datakey::cli::main()
}
