package config

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"

	"dinggate/internal/conf"

	"go.yaml.in/yaml/v3"
)

// parse parses the one document in data; nil for an empty one.
func parse(name string, data []byte) (root *yaml.Node, at place, fault conf.Text) {
	at.file = name
	if at.line, fault = encodingFault(data); !fault.IsZero() {
		return nil, at, fault
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document, second yaml.Node
	err := decoder.Decode(&document)
	if errors.Is(err, io.EOF) {
		return nil, at, conf.Text{}
	}
	if err == nil {
		if err = decoder.Decode(&second); err == nil {
			at.line = second.Line
			return nil, at, conf.Textf("contains a second document; remove it and the ---")
		}
	}
	if !errors.Is(err, io.EOF) {
		at.line, fault = yamlFault(err)
		if line, text := misprintBefore(data, at.line); line > 0 {
			at.line, fault = line, text
		}
		return nil, at, fault
	}
	root = document.Content[0]
	if root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" {
		return nil, at, conf.Text{}
	}
	return root, at, conf.Text{}
}

var yamlLine = regexp.MustCompile(`line (\d+): `)

// yamlFault rewrites an error of the parser; two of them quote the content.
func yamlFault(err error) (line int, fault conf.Text) {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line = 1
	if m := yamlLine.FindStringSubmatchIndex(text); m != nil {
		line, _ = strconv.Atoi(text[m[2]:m[3]])
		text = text[m[1]:]
	}
	switch {
	case strings.Contains(text, "unknown anchor"):
		return line,
			notYAML(conf.Errorf("an alias (*) refers to an anchor that does not exist; text that begins with * needs quotes"))
	case strings.Contains(text, "contains itself"):
		return line, notYAML(conf.Errorf("an anchor contains itself"))
	}
	return line, notYAML(errors.New(text))
}

func notYAML(err error) conf.Text {
	return conf.Textf("is not YAML at or just after this line: %s", err)
}
