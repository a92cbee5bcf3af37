//! One HTTP client: time-outs, one retry loop, Retry-After, limits, redacted errors.
