//! A store: creates, edits, searches; logs operations; exchanges them with headquarters.
