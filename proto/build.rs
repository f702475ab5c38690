//! Compiles the contract without an installed protoc.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

/// Every file that nothing else imports; the rest follows from these.
const FILES: [&str; 7] = [
    "tillsync/common/v1/error_reason.proto",
    "tillsync/channel/v1/customer_service.proto",
    "tillsync/channel/v1/status_service.proto",
    "tillsync/hq/v1/real_time_service.proto",
    "tillsync/hq/v1/data_exchange_service.proto",
    "tillsync/hq/v1/admin_service.proto",
    "tillsync/emulator/v1/emulator_service.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=tillsync");
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    // Written by hand, because pages of the feed are shared.
    let (page, own) =
        (".tillsync.hq.v1.ListCustomerChangesResponse", "crate::feed::ListCustomerChangesResponse");
    tonic_prost_build::configure().extern_path(page, own).compile_fds(descriptors)?;
    Ok(())
}
