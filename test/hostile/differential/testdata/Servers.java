import java.io.IOException;
import java.nio.file.Files;

// Tomcat and Jetty, each with one servlet per area, which responds with the area's mark. The
// program prints a line with the name and the port of each server, and exits at the end of its
// input.
public class Servers {
    static final String[][] AREAS = {
        {"/admin/*", "MARK-ADMIN"}, {"/settings", "MARK-ADMIN"}, {"/public/*", "MARK-PUBLIC"}, {"/", "MARK-REST"}};

    static class TomcatMark extends jakarta.servlet.http.HttpServlet {
        final byte[] mark;

        TomcatMark(String mark) { this.mark = mark.getBytes(); }

        @Override
        protected void service(jakarta.servlet.http.HttpServletRequest q, jakarta.servlet.http.HttpServletResponse a) throws IOException {
            a.setContentLength(mark.length);
            a.getOutputStream().write(mark);
        }
    }

    static class JettyMark extends javax.servlet.http.HttpServlet {
        final byte[] mark;

        JettyMark(String mark) { this.mark = mark.getBytes(); }

        @Override
        protected void service(javax.servlet.http.HttpServletRequest q, javax.servlet.http.HttpServletResponse a) throws IOException {
            a.setContentLength(mark.length);
            a.getOutputStream().write(mark);
        }
    }

    // A lenient Tomcat treats encoded slashes and backslashes as slashes.
    static void tomcat(String name, boolean lenient) throws Exception {
        var server = new org.apache.catalina.startup.Tomcat();
        server.setBaseDir(Files.createTempDirectory(name).toString());
        server.setPort(0);
        var connector = server.getConnector();
        connector.setProperty("address", "127.0.0.1");
        connector.setProperty("maxKeepAliveRequests", "-1");
        if (lenient) {
            connector.setEncodedSolidusHandling("decode");
            connector.setProperty("relaxedPathChars", "<>[\\]^`{|}\"");
            connector.setAllowBackslash(true);
        }
        // server.addContext would search for annotations, whose classes the package does not contain.
        var context = new org.apache.catalina.core.StandardContext();
        context.setPath("");
        context.addLifecycleListener(event -> {
            if (event.getType().equals(org.apache.catalina.Lifecycle.CONFIGURE_START_EVENT)) {
                context.setConfigured(true);
            }
        });
        server.getHost().addChild(context);
        for (int i = 0; i < AREAS.length; i++) {
            org.apache.catalina.startup.Tomcat.addServlet(context, "area" + i, new TomcatMark(AREAS[i][1]));
            context.addServletMappingDecoded(AREAS[i][0], "area" + i);
        }
        server.start();
        System.out.println(name + " " + connector.getLocalPort());
    }

    // A lenient Jetty accepts RFC 2616 and merges slashes.
    static void jetty(String name, boolean lenient) throws Exception {
        var server = new org.eclipse.jetty.server.Server();
        var http = new org.eclipse.jetty.server.HttpConnectionFactory(new org.eclipse.jetty.server.HttpConfiguration());
        if (lenient) {
            http.setHttpCompliance(org.eclipse.jetty.http.HttpCompliance.LEGACY);
        }
        var connector = new org.eclipse.jetty.server.ServerConnector(server, http);
        connector.setHost("127.0.0.1");
        server.addConnector(connector);
        var context = new org.eclipse.jetty.servlet.ServletContextHandler();
        context.setContextPath("/");
        context.setCompactPath(lenient);
        for (String[] area : AREAS) {
            context.addServlet(new org.eclipse.jetty.servlet.ServletHolder(new JettyMark(area[1])), area[0]);
        }
        server.setHandler(context);
        server.start();
        System.out.println(name + " " + connector.getLocalPort());
    }

    public static void main(String[] args) throws Exception {
        java.util.logging.LogManager.getLogManager().reset();
        System.setProperty("org.eclipse.jetty.util.log.class", "org.eclipse.jetty.util.log.StdErrLog");
        System.setProperty("org.eclipse.jetty.LEVEL", "OFF");
        tomcat("tomcat", false);
        tomcat("tomcat-lenient", true);
        jetty("jetty", false);
        jetty("jetty-lenient", true);
        while (System.in.read() >= 0) { }
        System.exit(0);
    }
}
