package hostile

import (
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// floods covers the floods of M11. Each flood uses its own connection. The connection ends or
// stays within its limits, and other clients are served in the meantime.
func floods() (list []try) {
	const most = 300 << 20 // the limit for the memory of a flood, with the race detector
	add := func(name string, flood func(h *client, w *http2Conn) error) {
		list = append(list, try{"M11 " + name, func(h *client) {
			before := h.env.memory()
			w, err := dialHTTP2(h.env.newAddress(), h.env.addr, h.env.secure)
			if err != nil {
				h.failf("%v", err)
				return
			}
			defer w.c.Close()
			drained := make(chan struct{})
			go func() { // drain the responses, otherwise the flood would block
				defer close(drained)
				io.Copy(io.Discard, w.c)
			}()
			flood(h, w) // the error only reports that the connection ended
			if a := h.send(request{
				raw:        requestText("GET", "/public/x", h.id+"-other"),
				authorized: true,
				fresh:      true,
			}); a.status != 200 {
				h.failf("other clients are not served: %v", a)
			}
			if after := h.env.memory(); after > before+most {
				h.failf("it cost %d MiB", (after-before)>>20)
			}
			w.c.Close()
			<-drained
		}})
	}
	add("rapid reset, CVE-2023-44487", func(h *client, w *http2Conn) error {
		for range 10_000 {
			id, err := w.open(h.fields("GET", "/page", "app.test"), true)
			if err == nil {
				err = w.fr.WriteRSTStream(id, http2.ErrCodeCancel)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	add("rapid reset with a session", func(h *client, w *http2Conn) error {
		cookie := "cookie: " + strings.TrimPrefix(h.member("zhangsan"), "Cookie: ")
		for range 1000 {
			id, err := w.open(h.fields("GET", "/page", "app.test", cookie), true)
			if err == nil {
				err = w.fr.WriteRSTStream(id, http2.ErrCodeCancel)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	add("server resets, CVE-2025-8671", func(h *client, w *http2Conn) error { // resets by the server count too
		for range 10_000 {
			id, err := w.open(h.fields("GET", "/page", "app.test"), true)
			if err == nil {
				err = w.fr.WriteWindowUpdate(id, 0)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	add("more streams than allowed", func(h *client, w *http2Conn) error {
		for range 2000 {
			if _, err := w.open(h.fields("POST", "/oauth2/userinfo", "app.test", "content-length: 10"),
				false); err != nil {
				return err
			}
		}
		return nil
	})
	add("CONTINUATION without end, CVE-2023-45288", func(h *client, w *http2Conn) error {
		block := w.encode(append(h.fields("GET", "/page", "app.test"), hpack.HeaderField{
			Name:  "x-a",
			Value: strings.Repeat("~", 16000),
		}))
		if err := w.fr.WriteHeaders(http2.HeadersFrameParam{
			StreamID:      1,
			BlockFragment: block[:100],
			EndStream:     true,
		}); err != nil {
			return err
		}
		for n := 0; ; n++ {
			if err := w.fr.WriteContinuation(1, false,
				w.encode(line(fmt.Sprintf("x-%d: %s", n, strings.Repeat("~", 8000))))); err != nil {
				return err
			}
			if n == 4000 {
				h.failf("%d CONTINUATION frames are still accepted", n)
				return nil
			}
		}
	})
	add("empty CONTINUATION", func(h *client, w *http2Conn) error {
		block := w.encode(h.fields("GET", "/page", "app.test"))
		if err := w.fr.WriteHeaders(http2.HeadersFrameParam{
			StreamID:      1,
			BlockFragment: block,
			EndStream:     true,
		}); err != nil {
			return err
		}
		for range 50_000 {
			if err := w.fr.WriteContinuation(1, false, nil); err != nil {
				return err
			}
		}
		return nil
	})
	add("a HPACK bomb", func(h *client, w *http2Conn) error {
		value := hpack.HeaderField{Name: "x-bomb", Value: strings.Repeat("b", 3900)}
		for range 20 {
			fields := h.fields("GET", "/page", "app.test")
			for range 15_000 { // one byte each
				fields = append(fields, value)
			}
			if _, err := w.open(fields, true); err != nil {
				return err
			}
		}
		return nil
	})
	add("a HPACK table of 4 GiB", func(h *client, w *http2Conn) error {
		return w.fr.WriteHeaders(http2.HeadersFrameParam{
			StreamID:      1,
			BlockFragment: []byte{0x3f, 0xe1, 0xff, 0xff, 0xff, 0x0f, 0x82, 0x87, 0x84, 0x41, 0x00},
			EndStream:     true,
			EndHeaders:    true,
		})
	})
	for name, block := range map[string][]byte{"an index beyond the table": {0xff, 0xff, 0xff, 0x7f},
		"a number without end":           {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		"a string longer than the block": {0x40, 0x7f, 0xff, 0xff, 0x03, 'x'},
		"a bad Huffman code":             {0x40, 0x84, 0xff, 0xff, 0xff, 0xff, 0x00}, "index 0": {0x80}} {
		add("HPACK: "+name, func(h *client, w *http2Conn) error {
			return w.fr.WriteHeaders(http2.HeadersFrameParam{
				StreamID:      1,
				BlockFragment: block,
				EndStream:     true,
				EndHeaders:    true,
			})
		})
	}
	many := func(name string, n int, frame func(w *http2Conn, i int) error) {
		add(name, func(h *client, w *http2Conn) error {
			for i := range n {
				if err := frame(w, i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	many("SETTINGS", 20_000, func(w *http2Conn, i int) error {
		return w.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(i)})
	})
	many("invalid SETTINGS", 200, func(w *http2Conn, i int) error {
		return w.fr.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: uint32(i)}, http2.Setting{
			ID:  http2.SettingID(i),
			Val: 1 << 31,
		})
	})
	many("PING", 50_000, func(w *http2Conn, i int) error { return w.fr.WritePing(false, [8]byte{byte(i)}) })
	many("PRIORITY", 50_000, func(w *http2Conn, i int) error {
		return w.fr.WritePriority(uint32(2*i+1), http2.PriorityParam{StreamDep: uint32(2*i + 1), Weight: 255})
	})
	many("WINDOW_UPDATE", 5000, func(w *http2Conn, i int) error { return w.fr.WriteWindowUpdate(0, 1<<31-1) })
	many("RST of no stream",
		5000, func(w *http2Conn, i int) error { return w.fr.WriteRSTStream(uint32(2*i+1), http2.ErrCodeCancel) })
	many("unknown frames", 20_000, func(w *http2Conn, i int) error {
		return w.fr.WriteRawFrame(http2.FrameType(200+i%50), 0xff, uint32(i), make([]byte, 100))
	})
	many("DATA of no stream",
		1000, func(w *http2Conn, i int) error { return w.fr.WriteData(uint32(2*i+1), false, make([]byte, 1000)) })
	many("PUSH_PROMISE", 10, func(w *http2Conn, i int) error {
		return w.fr.WritePushPromise(http2.PushPromiseParam{
			StreamID:      1,
			PromiseID:     uint32(2 * i),
			BlockFragment: []byte{0x82},
			EndHeaders:    true,
		})
	})
	many("a frame of 16 MiB", 1, func(w *http2Conn, i int) error {
		_, err := w.c.Write([]byte("\xff\xff\xff\x00\x00\x00\x00\x00\x01" + strings.Repeat("x", 1<<20)))
		return err
	})
	many("even streams", 10, func(w *http2Conn, i int) error {
		return w.fr.WriteHeaders(http2.HeadersFrameParam{
			StreamID:      uint32(2 * (i + 1)),
			BlockFragment: []byte{0x82, 0x87, 0x84},
			EndStream:     true,
			EndHeaders:    true,
		})
	})
	add("empty DATA", func(h *client, w *http2Conn) error {
		id, err := w.open(h.fields("POST", "/oauth2/userinfo", "app.test"), false)
		for i := 0; err == nil && i < 50_000; i++ {
			err = w.fr.WriteData(id, false, nil)
		}
		return err
	})
	add("the responses are not read", func(h *client, w *http2Conn) error { // window size 0, 1 GiB per stream
		if err := w.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}); err != nil {
			return err
		}
		cookie := "cookie: " + strings.TrimPrefix(h.member("zhangsan"), "Cookie: ")
		for range 100 {
			if _, err := w.open(h.fields("GET", "/act/flood", "app.test", cookie), true); err != nil {
				return err
			}
		}
		time.Sleep(time.Second)
		return nil
	})
	return list
}
