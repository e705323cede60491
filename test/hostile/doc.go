// Package hostile tries every known way to break an authenticating proxy on
// the real program; it holds tests only.
//
//	try ─► wire (raw bytes) ─► dinggate, built with -race ─► recorder (keeps raw bytes)
//	            │                   │  │
//	            ▼                   │  └─► simulated DingTalk (counts its calls)
//	         oracle ◄── log ────────┘
//
// A class is a list of tries, most of them written by a small grammar: a few
// words times a few spellings. After every answer, whatever was sent, the
// oracle asks the same eleven questions (invariants_test.go); what a try expects
// beyond that is said beside it. A class that runs fewer tries than its floor
// fails, so that an empty list cannot look like a good day.
//
// docs/hostile.md tells what is tried, how to run it and how to add a spelling.
package hostile
