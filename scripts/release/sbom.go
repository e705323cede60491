package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const sbomTool = "cyclonedx-gomod@v1.10.0"

// sboms writes a software bill of materials per binary (CycloneDX, JSON): the
// modules that the linker put into it, read out of the binary itself.
func (r *release) sboms(ctx context.Context) error {
	gomod, err := tool(sbomTool)
	if err != nil {
		return err
	}
	for _, t := range r.targets {
		file := r.name(t, ".cdx.json")
		fmt.Println("sbom", file)
		// No serial number: it would differ in each run.
		_, err := command(ctx, nil, gomod, "bin", "-json", "-noserial", "-std", "-licenses", "-version", r.version.text,
			"-output", filepath.Join(r.out, file), r.binaries[t])
		if err != nil {
			return err
		}
		if err := r.settle(file); err != nil {
			return err
		}
	}
	return nil
}

// settle removes what belongs to this run and not to the binary: the time, and the
// checksums of the tool, which was built here.
func (r *release) settle(file string) error {
	bill, err := readObject(filepath.Join(r.out, file))
	if err != nil {
		return err
	}
	metadata, _ := bill["metadata"].(object)
	tools, ok := metadata["tools"].([]any)
	if !ok {
		return fmt.Errorf("%s names no tools", file)
	}
	metadata["timestamp"] = r.epoch.Format(time.RFC3339)
	for _, t := range tools {
		if t, ok := t.(object); ok {
			delete(t, "hashes")
		}
	}
	data, err := json.MarshalIndent(bill, "", "  ") // keys sorted
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, file), append(data, '\n'), 0o644)
}
