//! The door from inside: what cannot be seen through a loaded module.
