// Package browser tests sign-ins with real browsers: Chromium, Firefox and WebKit. It
// contains tests only.
package browser
