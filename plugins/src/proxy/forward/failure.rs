//! Why a request brought no answer.
