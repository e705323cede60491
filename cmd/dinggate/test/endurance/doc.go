// Package endurance tests the real program with many slow clients, with clock changes and
// with limited memory; make endure runs it with the full numbers. It contains tests only.
package endurance
