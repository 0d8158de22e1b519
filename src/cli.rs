pub mod reload;
pub mod status;
