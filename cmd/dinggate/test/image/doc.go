// Package image tests the build context of the container image, and the image. It contains
// tests only.
package image
