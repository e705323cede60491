package page

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"

	"dinggate/internal/web"
)

// assets are the scripts of our pages, and dinggate.js, which applications may load. silent.js is
// built from the folder silent.
//
//go:embed assets
var assetFiles embed.FS

// helper has a fixed name, since applications write it into their pages; the names of the others
// contain a hash, so that a page and its script are of one release.
const helper = "dinggate.js"

// loadAssets reads the scripts and computes the name under which each is served.
func (p *Pages) loadAssets() error {
	p.assets, p.assetNames = map[string][]byte{}, map[string]string{}
	for _, name := range []string{"silent.js", "page.js", "qr.js", "signed_in.js", "post_form.js", helper} {
		body, err := assetFiles.ReadFile("assets/" + name)
		if err != nil {
			return fmt.Errorf("page: reading a script: %w", err)
		}
		served := name
		if name != helper {
			sum := sha256.Sum256(body)
			served = strings.TrimSuffix(name, ".js") + "." + hex.EncodeToString(sum[:6]) + ".js"
		}
		p.assets[served], p.assetNames[name] = body, served
	}
	return nil
}

// assetURL is the URL of a script: on the page's own host, or, for pages that a gateway may show
// on another one, on that of public_url.
func (p *Pages) assetURL(base, name string) string {
	return base + p.prefix + "/assets/" + p.assetNames[name]
}

var scriptType = []string{"text/javascript; charset=utf-8"}

// Asset serves the scripts below prefix/assets/; it is a web.HandlerFunc.
func (p *Pages) Asset(w http.ResponseWriter, r *http.Request) error {
	web.From(w).Endpoint = "assets"
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return &web.Error{Status: http.StatusMethodNotAllowed, Code: "method_not_allowed", Allow: "GET, HEAD"}
	}
	name, found := strings.CutPrefix(r.URL.Path, p.prefix+"/assets/")
	body, known := p.assets[name]
	if !found || !known {
		return &web.Error{Status: http.StatusNotFound, Code: "not_found"}
	}
	web.SecurityHeaders(w, "")
	send(w, r, http.StatusOK, scriptType, body)
	return nil
}
