# What Tenon needs from the system. Each miss names the Debian package.
find_package(PkgConfig)
find_package(Threads REQUIRED)

# tenon_need(target header library debian-package why)
function(tenon_need target header library package why)
  find_path(${target}_INCLUDE ${header} PATH_SUFFIXES ${CMAKE_LIBRARY_ARCHITECTURE})
  find_library(${target}_LIBRARY ${library})
  if(NOT ${target}_INCLUDE OR NOT ${target}_LIBRARY)
    message(FATAL_ERROR
      "${why} needs ${header} and lib${library}, which are not installed.\n"
      "On Debian or Ubuntu: sudo apt-get install ${package}")
  endif()
  add_library(${target} INTERFACE IMPORTED GLOBAL)
  target_include_directories(${target} INTERFACE ${${target}_INCLUDE})
  target_link_libraries(${target} INTERFACE ${${target}_LIBRARY})
endfunction()

tenon_need(tenon_libyaml yaml.h yaml libyaml-dev "Reading configs")
tenon_need(tenon_jansson jansson.h jansson libjansson-dev "Reading JSON")
tenon_need(tenon_zlib zlib.h z zlib1g-dev "Reading gzip texts")
tenon_need(tenon_zstd zstd.h zstd libzstd-dev "Reading zstd texts")
tenon_need(tenon_pcre2 pcre2.h pcre2-8 libpcre2-dev "The tokenizer bpe")
if(TENON_TESTS)
  tenon_need(tenon_cmocka cmocka.h cmocka libcmocka-dev "Building the tests (TENON_TESTS)")
endif()
