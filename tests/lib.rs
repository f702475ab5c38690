//! Nothing: the scenarios are in `scenarios/`, in one test binary.
