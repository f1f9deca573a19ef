//! What one process counted and the next goes on with, in a file without a name (`memfd_create`): it may be large.
//!
//! What has to survive a crash as well is not here but on the disk: log, spend, penalties, shared sources.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{FromRawFd, OwnedFd};

use serde::{Deserialize, Serialize};

use crate::ids::TenantId;
use crate::usage::Counted;

/// Bytes of one entry.
const ENTRY: usize = 40;
/// Most that is read: two tables of the largest size, and all tenants.
const BYTES_MAX: u64 = (2 << 24) * ENTRY as u64 + (16 << 20);

/// See the module's documentation.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Estate {
    /// Limits and refusals; calls of the loop guard.
    pub counted: [Vec<Counted>; 2],
    /// The key that arguments are digested with, and its name: the loop guard's calls are known by it.
    pub argument_key: ([u8; 32], u32),
    /// Tenants in the order of their slots in the kernel's ledger.
    pub tenants: Vec<TenantId>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    counted: [usize; 2],
    argument_key: ([u8; 32], u32),
    tenants: Vec<(String, String)>,
}

impl Estate {
    /// Writes it down.
    ///
    /// # Errors
    /// There is no memory for it.
    pub fn store(&self) -> io::Result<OwnedFd> {
        let tenants = self.tenants.iter().map(|it| (it.issuer.to_string(), it.tenant.to_string())).collect();
        let counted = [self.counted[0].len(), self.counted[1].len()];
        let head = serde_json::to_vec(&Head { counted, argument_key: self.argument_key, tenants })?;
        let mut bytes = Vec::with_capacity(head.len() + 8 + (counted[0] + counted[1]) * ENTRY);
        bytes.extend_from_slice(&(head.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&head);
        for entry in self.counted.iter().flatten() {
            bytes.extend_from_slice(&entry.key.to_le_bytes());
            bytes.extend_from_slice(&entry.owner.to_le_bytes());
            bytes.extend_from_slice(&entry.payload.to_le_bytes());
        }
        // SAFETY: the name is a C string; a descriptor that is returned is new, and ours alone.
        let mut file = unsafe {
            let fd = libc::memfd_create(c"acp-estate".as_ptr(), libc::MFD_CLOEXEC);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            File::from_raw_fd(fd)
        };
        file.write_all(&bytes)?;
        Ok(file.into())
    }

    /// Reads it.
    ///
    /// # Errors
    /// It is none.
    pub fn load(fd: OwnedFd) -> io::Result<Self> {
        let mut file = File::from(fd);
        file.rewind()?;
        let mut bytes = Vec::new();
        file.take(BYTES_MAX).read_to_end(&mut bytes)?;
        Self::parse(&bytes).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "what was left cannot be read"))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk::<8>()?;
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        let (head, rest) = rest.split_at_checked(length)?;
        let head: Head = serde_json::from_slice(head).ok()?;
        let mut entries = rest.chunks_exact(ENTRY).map(entry);
        let counted = head.counted.map(|count| entries.by_ref().take(count).collect::<Vec<_>>());
        let whole = [counted[0].len(), counted[1].len()] == head.counted;
        let tenants =
            head.tenants.into_iter().map(|(issuer, tenant)| TenantId { issuer: issuer.into(), tenant: tenant.into() });
        whole.then(|| Self { counted, argument_key: head.argument_key, tenants: tenants.collect() })
    }
}

fn entry(bytes: &[u8]) -> Counted {
    let wide = |at: usize| u128::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
    let payload = u64::from_le_bytes(std::array::from_fn(|i| bytes[32 + i]));
    Counted { key: wide(0), owner: wide(16), payload }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estate() -> Estate {
        let entry = |n: u64| Counted { key: u128::from(n) << 70, owner: u128::from(n), payload: n * 3 };
        let tenant = TenantId { issuer: "https://issuer.test/".into(), tenant: "acme".into() };
        Estate {
            counted: [vec![entry(1), entry(2)], vec![entry(9)]],
            argument_key: ([7; 32], 8),
            tenants: vec![tenant],
        }
    }

    #[test]
    fn what_was_stored_is_read_back() {
        for estate in [estate(), Estate::default()] {
            assert_eq!(Estate::load(estate.store().unwrap()).unwrap(), estate);
        }
    }

    #[test]
    fn what_was_cut_off_is_not_read() {
        let mut file = File::from(estate().store().unwrap());
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        assert!(Estate::parse(&bytes).is_some());
        for end in 0..bytes.len() {
            assert!(Estate::parse(&bytes[..end]).is_none(), "{end}");
        }
    }
}
