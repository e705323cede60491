package page

import (
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"math"
	"reflect"
	"strings"
)

// read returns one file of the pages: the organisation's own if there is one, otherwise ours.
func (c Config) read(name string) ([]byte, error) {
	if c.Templates != nil {
		text, err := c.Templates(name)
		if !errors.Is(err, fs.ErrNotExist) {
			return text, err
		}
	}
	return files.ReadFile("pages/" + name)
}

// parse compiles one page with its layout.
func (c Config) parse(name string) (*template.Template, error) {
	t := template.New(name)
	for _, file := range []string{"layout.html", name + ".html"} {
		text, err := c.read(file)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", file, err)
		}
		if _, err := t.Parse(string(text)); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// filled is a copy of a view in which every field is set, so that the conditional parts of a
// template are executed too.
func filled(view any) any {
	v := reflect.New(reflect.TypeOf(view)).Elem()
	fill(v)
	return v.Interface()
}

func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Int:
		v.SetInt(1)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() || v.Type().Field(i).Anonymous {
				fill(v.Field(i))
			}
		}
	}
}

var errAccent = errors.New("page: the accent colour is not written like #0f62de")

// accent is the style for buttons and marks of that colour, with readable text: black or white has
// a contrast of 4.5 to any colour.
func accent(colour string) (string, error) {
	if colour == "" {
		return "", nil
	}
	rgb, err := hex.DecodeString(strings.TrimPrefix(colour, "#"))
	if err != nil || len(rgb) != 3 || colour[0] != '#' {
		return "", errAccent
	}
	ink, shift := "#ffffff", -1.0
	if light := luminance(rgb); 1.05/(light+0.05) < 4.5 {
		ink, shift = "#000000", 1
	}
	over := make([]byte, 3) // away from the text's colour, so that it stays readable
	for i, c := range rgb {
		over[i] = byte(min(max(float64(c)+shift*24, 0), 255))
	}
	return fmt.Sprintf("\n:root{--button:#%x;--over:#%x;--ink:%s}", rgb, over, ink), nil
}

// luminance is the relative luminance of WCAG 2.2.
func luminance(rgb []byte) (sum float64) {
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		c := float64(rgb[i]) / 255
		if c <= 0.04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+0.055)/1.055, 2.4)
		}
		sum += weight * c
	}
	return sum
}
