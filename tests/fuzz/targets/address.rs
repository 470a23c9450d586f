//! Addresses as people write them: what is taken prints as something that is taken as the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rivers::config::{address::Address, listen::ListenAddress};

fuzz_target!(|text: &str| {
    if let Ok(address) = text.parse::<Address>() {
        assert_eq!(address.to_string().parse(), Ok(address));
    }
    if let Ok(listen) = text.parse::<ListenAddress>() {
        assert_eq!(listen.to_string().parse(), Ok(listen));
    }
});
