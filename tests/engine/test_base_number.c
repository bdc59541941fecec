/* test_base_number.c: numbers as text, against Python's repr and strtod. */
#include "support.h"

#include "base/bytes.h"
#include "base/pcg.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What repr() of CPython 3.11 says. */
static const struct {
    double v;
    const char *text;
} REPR[] = {
    {0x0.0p+0, "0.0"},
    {-0x0.0p+0, "-0.0"},
    {0x1.0000000000000p+0, "1.0"},
    {-0x1.0000000000000p+0, "-1.0"},
    {0x1.999999999999ap-4, "0.1"},
    {0x1.999999999999ap-3, "0.2"},
    {0x1.3333333333334p-2, "0.30000000000000004"},
    {0x1.5555555555555p-2, "0.3333333333333333"},
    {0x1.5555555555555p-1, "0.6666666666666666"},
    {0x1.9000000000000p+6, "100.0"},
    {0x1.c6bf526340000p+49, "1000000000000000.0"},
    {0x1.1c37937e07fffp+53, "9999999999999998.0"},
    {0x1.1c37937e08000p+53, "1e+16"},
    {0x1.6345785d8a000p+56, "1e+17"},
    {0x1.aa535d3d0c000p+53, "1.5e+16"},
    {0x1.b69b4ba630f35p+56, "1.2345678901234568e+17"},
    {0x1.0f0cf064dd592p+73, "1e+22"},
    {0x1.52d02c7e14af6p+76, "1e+23"},
    {0x1.fffffffffffffp+52, "9007199254740991.0"},
    {0x1.0000000000000p+53, "9007199254740992.0"},
    {0x1.0000000000000p+54, "1.8014398509481984e+16"},
    {0x1.a36e2eb1c432dp-14, "0.0001"},
    {0x1.02e4b6ce5dc68p-13, "0.00012345"},
    {0x1.4f8b588e368f1p-17, "1e-05"},
    {0x1.a36371ea531a8p-14, "9.999e-05"},
    {0x1.92a737110e454p-17, "1.2e-05"},
    {0x0.0000000000001p-1022, "5e-324"},
    {0x0.0000000000002p-1022, "1e-323"},
    {0x0.0000000000004p-1022, "2e-323"},
    {0x1.0000000000000p-1022, "2.2250738585072014e-308"},
    {0x0.fffffffffffffp-1022, "2.225073858507201e-308"},
    {0x1.fffffffffffffp+1023, "1.7976931348623157e+308"},
    {0x1.1666666666666p+2, "4.35"},
    {0x1.5666666666666p+1, "2.675"},
    {0x1.249ad2594c37dp+332, "1e+100"},
    {0x1.bff2ee48e0530p-333, "1e-100"},
    {0x1.08ffde1023e12p-23, "1.234e-07"},
    {0x1.81cd6c8b43958p+13, "12345.678"},
    {0x1.3333333333333p-2, "0.3"},
    {0x1.a36e2eb1c432dp-15, "5e-05"},
    {0x1.c7e83209e90b2p+72, "8.41e+21"},
    {0x0.0000000000003p-1022, "1.5e-323"},
    {0x1.0000000000000p-20, "9.5367431640625e-07"},
    {0x1.0000000000001p+52, "4503599627370497.0"},
    {0x1.0000000000000p+52, "4503599627370496.0"},
    {0x1.279a9c8073d8bp-100, "9.109e-31"},
    {0x1.fe185ca57c517p+78, "6.02214076e+23"},
    {0x1.0000000000000p+63, "9.223372036854776e+18"},
    {0x1.0000000000000p+64, "1.8446744073709552e+19"},
    {0x1.ddd4baa009303p+999, "1e+301"},
    {0x1.921fb54442d11p+1, "3.14159265358979"},
    {0x1.fffffffffffffp+51, "4503599627370495.5"},
    {0x1.24c41d4fdf3b6p+18, "299792.458"},
    {0x1.0000000000000p-25, "2.9802322387695312e-08"},
    {0x1.0f0cf064dd592p+132, "5.764607523034235e+39"},
    {0x1.0f0cf064dd592p+133, "1.152921504606847e+40"},
    {0x1.0f0cf064dd592p+134, "2.305843009213694e+40"},
    {0x0.0000000000001p-1022, "5e-324"},
    {0x0.0000000000002p-1022, "1e-323"},
    {0x0.0000000004000p-1022, "8.095e-320"},
    {0x0.8000000000000p-1022, "1.1125369292536007e-308"},
    {0x1.0000000000000p-1022, "2.2250738585072014e-308"},
    {0x1.0000000000000p-1021, "4.450147717014403e-308"},
    {0x1.0000000000000p-500, "3.054936363499605e-151"},
    {0x1.0000000000000p-44, "5.684341886080802e-14"},
    {0x1.0000000000000p-20, "9.5367431640625e-07"},
    {0x1.0000000000000p-4, "0.0625"},
    {0x1.0000000000000p+44, "17592186044416.0"},
    {0x1.0000000000000p+52, "4503599627370496.0"},
    {0x1.0000000000000p+53, "9007199254740992.0"},
    {0x1.0000000000000p+54, "1.8014398509481984e+16"},
    {0x1.0000000000000p+89, "6.189700196426902e+26"},
    {0x1.0000000000000p+166, "9.353610478917779e+49"},
    {0x1.0000000000000p+500, "3.273390607896142e+150"},
    {0x1.0000000000000p+1023, "8.98846567431158e+307"},
    {0x1.882321e35049ep+842, "4.492152248019643e+253"},
    {0x1.8c2926b94b5b5p+925, "4.389120112770094e+278"},
    {0x1.2aadbc8f429a4p+37, "160351883752.32532"},
    {-0x1.a79959588532dp+696, "-5.4399131119142674e+209"},
    {0x1.3bd58da60fb1cp-48, "4.383079907872608e-15"},
    {0x1.c61236c88c537p+278, "8.614354442467737e+83"},
    {-0x1.1b64633be40f5p+844, "-1.2985664392816573e+254"},
    {-0x1.18c966f3d88f7p-888, "-5.314965623006408e-268"},
    {-0x1.b195060c40eb7p+418, "-1.146488202889241e+126"},
    {0x1.8acc213a5bf07p+433, "3.420758551378043e+130"},
    {0x1.d670af9a3638ep+678, "2.3046315439163635e+204"},
    {0x1.94db7e48f12b9p+169, "1.1833994934170815e+51"},
    {-0x1.e22cad37b17c6p+428, "-1.3055768296735293e+129"},
    {-0x1.9bfbc91ba7257p-980, "-1.5748679552677205e-295"},
    {0x1.197f45625871bp-816, "2.51627196477289e-246"},
    {-0x1.40b6020d0b29cp-429, "-9.036613517376497e-130"},
    {-0x1.3165de1ab3e01p-181, "-3.892215651960722e-55"},
    {0x1.cb70f964e03c0p+1, "3.589385198837107"},
    {-0x1.3acdf2060d7c4p+617, "-6.688184663054428e+185"},
    {-0x1.8e92df2adcc0ep-962, "-3.994044171376333e-290"},
    {0x1.d9a4de6cf02bbp+244, "5.2303534038858595e+73"},
    {-0x1.9ee169646a718p-252, "-2.239361282907897e-76"},
    {0x1.ab03d8de49eb1p-714, "1.9354693131874806e-215"},
    {-0x1.5b021e0d44f2bp+521, "-9.305240496802682e+156"},
    {-0x1.86bd5a7550d23p-405, "-1.8471377613108987e-122"},
    {0x1.474c15e9ecba7p+41, "2811461620697.4565"},
    {0x1.6bd800bc49874p+670, "6.962609881020059e+201"},
    {-0x1.2de50ff542939p-693, "-2.8696480509335243e-209"},
    {-0x1.25c12903c3ad2p+460, "-3.41619470970423e+138"},
    {0x1.ae4d4359e9d02p+869, "6.616060051749092e+261"},
    {-0x1.ba1690ce64264p-678, "-1.3769933585597693e-204"},
    {0x1.dda8fd41f125bp+928, "4.2336503662127315e+279"},
    {0x1.ac63a43514e2ep+230, "2.887337660350333e+69"},
    {0x1.dd41a347a2e47p-664, "2.4355366694702615e-200"},
    {0x1.63c49440a9a11p-461, "2.3339888564043163e-139"},
    {-0x1.354ef398bdedfp-463, "-5.072987159160624e-140"},
    {-0x1.01733d942b204p-624, "-1.444561059875671e-188"},
    {0x1.8765c57810ce8p+637, "8.719375264419009e+191"},
    {0x1.2d1aff1067dbdp-800, "1.7639331668509974e-241"},
    {-0x1.f115c6a44f3ccp-456, "-1.0435487072953564e-137"},
    {0x1.ce6e5f89c8d33p+168, "6.75843876005182e+50"},
    {-0x1.fa1f725601b2fp-477, "-5.066499894016898e-144"},
    {0x1.9320448410fe3p-588, "1.5544023441874205e-177"},
    {0x1.3796d40618823p+261, "4.509945161717723e+78"},
    {-0x1.718296e887807p+89, "-8.934206376953689e+26"},
    {0x1.8d6a904943815p-758, "1.0239269122939286e-228"},
    {0x1.8b767352e4941p-92, "3.119650612955522e-28"},
    {-0x1.9cdec60c9e347p-590, "-3.979936478258974e-178"},
    {0x1.b86486a2a1812p+897, "1.8176331567502735e+270"},
    {-0x1.5b28fafb5454bp-876, "-2.6916191680102057e-264"},
    {-0x1.d8e8e32474e22p+761, "-2.2406033019642223e+229"},
    {0x1.de531518bd8abp-643, "5.1191220706885394e-194"},
    {0x1.3ce50dcfe4bccp+724, "1.0924257505679557e+218"},
    {-0x1.2ffe4ed2261f1p+253, "-1.718751453462524e+76"},
    {-0x1.0b9583a589e65p-865, "-4.24887536492955e-261"},
    {0x1.279a1abe7020ep-15, "3.523850090259374e-05"},
    {0x1.6d2e1c91d6da3p+112, "7.406732842697646e+33"},
    {-0x1.c2788a8e1f980p+17, "-230641.08246226236"},
    {-0x1.d4d25c8ec9febp-538, "-2.0353077945140491e-162"},
    {-0x1.3d5b062c4a228p+369, "-1.4906461069017133e+111"},
    {0x1.109bf6bd33d83p+980, "1.0881689946975821e+295"},
    {-0x1.d8770d23ad2d9p+140, "-2.572344376666327e+42"},
    {0x1.56763d5236ac1p+560, "5.048586880232952e+168"},
    {0x1.8e5ba2d10a9f2p-404, "3.766303194632279e-122"},
    {0x1.9f75f10c01d5dp+324, "5.546366806697518e+97"},
    {-0x1.9265bb32e9ea1p+980, "-1.6062418535594396e+295"},
    {-0x1.4c608ef605abfp-821, "-9.284634142654976e-248"},
    {0x1.273cdd6a19e4fp+535, "1.2971183612942818e+161"},
    {0x1.c275e69b5220dp+16, "115317.90080750753"},
    {-0x1.d2ebef476092fp-70, "-1.544914046103647e-21"},
    {-0x1.14e0a57e101e1p+46, "-76107514610695.52"},
    {0x1.2323b36225fadp-265, "1.9182811083926818e-80"},
    {-0x1.4f1dc632417c4p-937, "-1.1268073132697686e-282"},
    {0x1.d6a6340ed367ep-284, "5.9147803353002586e-86"},
    {0x1.f9ccdad9a6f2dp-90, "1.596024059935851e-27"},
    {-0x1.c8580346dc5d6p+7, "-228.1719"},
    {-0x1.652e3bcd35a86p+9, "-714.3612"},
    {0x1.2890c49ba5e35p+9, "593.131"},
    {-0x1.6200000000000p+8, "-354.0"},
    {-0x1.1477dbf487fccp+8, "-276.4682"},
    {0x1.2a66666666666p+9, "596.8"},
    {-0x1.bcee353f7ced9p+9, "-889.861"},
    {-0x1.c953f7ced9168p+8, "-457.328"},
    {-0x1.8e09691a75cd1p+8, "-398.03676"},
    {-0x1.856fbaf533f42p+9, "-778.872893"},
    {-0x1.e680000000000p+9, "-973.0"},
    {-0x1.bb9999999999ap+8, "-443.6"},
    {-0x1.c680000000000p+9, "-909.0"},
    {0x1.5b1a9fbe76c8bp+3, "10.847"},
    {0x1.399b43419e300p+9, "627.21299"},
    {0x1.dbf3333333333p+9, "951.9"},
    {0x1.06dd70a3d70a4p+8, "262.865"},
    {-0x1.114a9930be0dfp+8, "-273.2914"},
    {0x1.37b0a3d70a3d7p+8, "311.69"},
    {0x1.f8ccccccccccdp+5, "63.1"},
    {0x1.1200000000000p+8, "274.0"},
    {0x1.2e00000000000p+7, "151.0"},
    {0x1.8266666666666p+6, "96.6"},
    {-0x1.27af5c28f5c29p+8, "-295.685"},
    {0x1.1a828f5c28f5cp+8, "282.51"},
    {-0x1.67848e8a71de7p+8, "-359.5178"},
    {0x1.46c4a8c154c98p+9, "653.5364"},
    {-0x1.30b9d944aa540p+9, "-609.451943"},
    {-0x1.a1c0000000000p+9, "-835.5"},
    {0x1.8b610624dd2f2p+8, "395.379"},
};

static void
check_round_trip(double v)
{
    char text[32];
    size_t len = ct_format_f64(v, text);
    assert_int_equal(strlen(text), len);
    double back = strtod(text, NULL);
    if (memcmp(&back, &v, sizeof v) != 0) {
        fail_msg("%a was written as %s, which is %a", v, text, back);
    }
}

/* Significant digits of a text of ours. */
static int
count_digits(const char *text)
{
    int digits = 0;
    int zeros = 0;
    for (; *text != '\0' && *text != 'e'; text++) {
        if (*text == '0' && digits > 0) {
            zeros++;
        } else if (*text >= '1' && *text <= '9') {
            digits += zeros + 1;
            zeros = 0;
        }
    }
    return digits;
}

/* No text of fewer digits reads back as v, and of as many none is closer: %.*e rounds
 * correctly, so if it reads back with n digits it is the closest of n digits. */
static void
check_shortest(double v)
{
    char text[32];
    char other[40];
    (void)ct_format_f64(v, text);
    int digits = count_digits(text);
    if (digits > 1) {
        (void)snprintf(other, sizeof other, "%.*e", digits - 2, v);
        if (strtod(other, NULL) == v) {
            fail_msg("%a was written as %s, but %s is shorter", v, text, other);
        }
    }
    (void)snprintf(other, sizeof other, "%.*e", digits - 1, v);
    double error = strtod(other, NULL) - v;
    if (error == 0.0) {
        char ours[40];
        (void)snprintf(ours, sizeof ours, "%s", text);
        char *digits_at = other[0] == '-' ? other + 1 : other;
        size_t k = 0;
        bool started = false; /* compare digit by digit, without layout */
        for (const char *p = ours; *p != '\0' && *p != 'e' && digits > 0; p++) {
            if (*p >= '0' && *p <= '9' && (started || *p != '0')) {
                started = true;
                assert_int_equal(*p, digits_at[k]);
                k += k == 0 ? 2 : 1; /* skips the point of %e */
                digits--;
            }
        }
    }
}

static double
random_bits(ct_pcg *p)
{
    for (;;) {
        uint64_t bits = ct_pcg_next(p);
        double v;
        memcpy(&v, &bits, sizeof v);
        if (isfinite(v)) {
            return v;
        }
    }
}

static void
test_doubles_look_like_python_repr(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof REPR / sizeof REPR[0]; i++) {
        char text[32];
        size_t len = ct_format_f64(REPR[i].v, text);
        assert_string_equal(text, REPR[i].text);
        assert_int_equal(len, strlen(REPR[i].text));
    }
}

static void
test_values_that_are_no_numbers_have_names(void **state)
{
    (void)state;
    char text[32];
    assert_int_equal(ct_format_f64((double)NAN, text), 3);
    assert_string_equal(text, "nan");
    (void)ct_format_f64(-(double)NAN, text);
    assert_string_equal(text, "nan");
    (void)ct_format_f64((double)INFINITY, text);
    assert_string_equal(text, "inf");
    assert_int_equal(ct_format_f64(-(double)INFINITY, text), 4);
    assert_string_equal(text, "-inf");
}

static void
test_random_bit_patterns_read_back_the_same(void **state)
{
    (void)state;
    ct_pcg p;
    ct_pcg_init(&p, 2024, 1);
    for (int i = 0; i < 1000000; i++) {
        check_round_trip(random_bits(&p));
    }
}

static void
test_edges_read_back_the_same_and_are_shortest(void **state)
{
    (void)state;
    for (int e = -1074; e <= 1023; e++) {
        double v = ldexp(1.0, e);
        for (int side = 0; side < 3; side++) {
            double w = side == 0 ? v : nextafter(v, side == 1 ? 0.0 : INFINITY);
            if (w > 0.0 && isfinite(w)) {
                check_round_trip(w);
                check_round_trip(-w);
                if (side > 0) { /* above a power of two the closest may be asymmetric */
                    check_shortest(w);
                }
            }
        }
    }
    for (int e = -323; e <= 308; e++) {
        char text[16];
        (void)snprintf(text, sizeof text, "1e%d", e);
        double v = strtod(text, NULL);
        check_round_trip(v);
        check_round_trip(nextafter(v, 0.0));
        check_round_trip(nextafter(v, INFINITY));
        check_shortest(v);
    }
    check_round_trip(DBL_MAX);
    check_round_trip(DBL_MIN);
}

static void
test_texts_are_the_shortest_and_closest(void **state)
{
    (void)state;
    ct_pcg p;
    ct_pcg_init(&p, 7, 7);
    for (int i = 0; i < 30000; i++) {
        check_shortest(random_bits(&p));
        check_shortest(p.rng.next_double(&p.rng));
        check_shortest((double)(ct_pcg_next(&p) % 1000000) / 1000.0);
        check_shortest((double)(ct_pcg_next(&p) % 10000000) * 1e-12);
        check_shortest((double)(ct_pcg_next(&p) >> 1));
        check_round_trip((double)(int64_t)ct_pcg_next(&p));
    }
}

static void
test_integers_print_in_decimal(void **state)
{
    (void)state;
    ct_pcg p;
    ct_pcg_init(&p, 3, 3);
    char text[24];
    char want[24];
    for (int i = 0; i < 100000; i++) {
        int64_t v = (int64_t)ct_pcg_next(&p) >> (i % 64);
        (void)snprintf(want, sizeof want, "%lld", (long long)v);
        size_t len = ct_format_i64(v, text);
        assert_string_equal(text, want);
        assert_int_equal(len, strlen(want));
    }
    for (int64_t v = 1; v <= INT64_MAX / 10; v *= 10) {
        for (int64_t d = -1; d <= 1; d++) {
            (void)snprintf(want, sizeof want, "%lld", (long long)(v + d));
            (void)ct_format_i64(v + d, text);
            assert_string_equal(text, want);
        }
    }
    (void)ct_format_i64(INT64_MIN, text);
    assert_string_equal(text, "-9223372036854775808");
    (void)ct_format_i64(INT64_MAX, text);
    assert_string_equal(text, "9223372036854775807");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_doubles_look_like_python_repr),
        cmocka_unit_test(test_values_that_are_no_numbers_have_names),
        cmocka_unit_test(test_random_bit_patterns_read_back_the_same),
        cmocka_unit_test(test_edges_read_back_the_same_and_are_shortest),
        cmocka_unit_test(test_texts_are_the_shortest_and_closest),
        cmocka_unit_test(test_integers_print_in_decimal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
