import java.io.InputStream;
import java.security.KeyStore;
import java.security.Security;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import javax.net.ssl.KeyManager;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLServerSocket;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509ExtendedKeyManager;
import java.net.InetAddress;
import java.net.Socket;
import java.security.Principal;
import java.security.PrivateKey;
import java.security.cert.X509Certificate;

/**
 * `server-alias client-alias rounds`: server and client on loopback, the keys of both on the token, each
 * asking for the other's certificate. TLS 1.3 and 1.2.
 */
final class Tls {
    public static void main(String[] args) throws Exception {
        Token token = new Token(args[0], args[1]);
        Security.addProvider(token.provider);
        KeyStore trusted = KeyStore.getInstance(KeyStore.getDefaultType());
        trusted.load(null, null);
        for (String each : new String[] {args[2], args[3]}) trusted.setCertificateEntry(each, token.store.getCertificate(each));
        // Daemons: when the client fails, a server that still waits must not keep the program alive.
        ExecutorService pool = Executors.newSingleThreadExecutor(work -> {
            Thread thread = new Thread(work);
            thread.setDaemon(true);
            return thread;
        });
        for (String protocol : new String[] {"TLSv1.3", "TLSv1.2"}) {
            for (int round = 0; round < Integer.parseInt(args[4]); round++) {
                // New contexts, so that no session is resumed: each round is a signature of both sides.
                SSLContext server = context(token, args[2], trusted), client = context(token, args[3], trusted);
                try (SSLServerSocket listening = (SSLServerSocket) server.getServerSocketFactory()
                        .createServerSocket(0, 5, InetAddress.getLoopbackAddress())) {
                    listening.setNeedClientAuth(true);
                    Future<String> served = pool.submit(() -> serve(listening));
                    try (SSLSocket socket = (SSLSocket) client.getSocketFactory()
                            .createSocket(listening.getInetAddress(), listening.getLocalPort())) {
                        socket.setEnabledProtocols(new String[] {protocol});
                        socket.getOutputStream().write("ping".getBytes());
                        Token.check(new String(socket.getInputStream().readNBytes(4)).equals("pong"), "no answer");
                        Token.check(socket.getSession().getProtocol().equals(protocol), "another protocol");
                        Token.check(name(socket, args[2]), "the server is " + socket.getSession().getPeerPrincipal());
                    }
                    Token.check(served.get().equals("CN=" + args[3]), "the client is " + served.get());
                }
            }
            System.out.println(protocol + " " + args[2] + " and " + args[3]);
        }
    }

    static boolean name(SSLSocket socket, String alias) throws Exception {
        return socket.getSession().getPeerPrincipal().getName().equals("CN=" + alias);
    }

    static String serve(SSLServerSocket listening) throws Exception {
        try (SSLSocket socket = (SSLSocket) listening.accept()) {
            InputStream in = socket.getInputStream();
            Token.check(new String(in.readNBytes(4)).equals("ping"), "no question");
            socket.getOutputStream().write("pong".getBytes());
            return socket.getSession().getPeerPrincipal().getName();
        }
    }

    static SSLContext context(Token token, String alias, KeyStore trusted) throws Exception {
        TrustManagerFactory trust = TrustManagerFactory.getInstance("PKIX");
        trust.init(trusted);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(new KeyManager[] {new Only(alias, token)}, trust.getTrustManagers(), null);
        return context;
    }

    /** Of the store's entries, this one. */
    static final class Only extends X509ExtendedKeyManager {
        final String alias;
        final Token token;

        Only(String alias, Token token) {
            this.alias = alias;
            this.token = token;
        }

        private String ifFits(String... types) throws RuntimeException {
            try {
                String own = token.store.getCertificate(alias).getPublicKey().getAlgorithm();
                for (String each : types) if (each.equals(own)) return alias;
                return null;
            } catch (Exception e) {
                throw new RuntimeException(e);
            }
        }

        @Override public String chooseClientAlias(String[] types, Principal[] issuers, Socket socket) { return ifFits(types); }
        @Override public String chooseServerAlias(String type, Principal[] issuers, Socket socket) { return ifFits(type); }
        @Override public String[] getClientAliases(String type, Principal[] issuers) { return new String[] {alias}; }
        @Override public String[] getServerAliases(String type, Principal[] issuers) { return new String[] {alias}; }

        @Override public X509Certificate[] getCertificateChain(String alias) {
            try {
                return java.util.Arrays.stream(token.store.getCertificateChain(alias)).toArray(X509Certificate[]::new);
            } catch (Exception e) {
                throw new RuntimeException(e);
            }
        }

        @Override public PrivateKey getPrivateKey(String alias) {
            try {
                return token.key(alias);
            } catch (Exception e) {
                throw new RuntimeException(e);
            }
        }
    }
}
