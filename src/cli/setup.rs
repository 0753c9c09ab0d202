//! `detbench setup` (in preparation of the verb): fetches and verifies.
